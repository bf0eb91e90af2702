// Talking to the server. Addresses are relative, so that a proxy may put the page below a path.
import { parseExact } from "./format.js";
import * as token from "./token.js";

// An answer that is well, or an error {code, message, hint}. Who has no token is asked for one, and what was asked for
// goes on then.
async function request(path, options) {
  for (;;) {
    const used = token.current();
    let answer;
    try {
      answer = await fetch(path, { cache: "no-store", ...options, headers: { ...options?.headers, ...token.headers() } });
    } catch {
      throw { code: "closed", message: "The server does not answer.", hint: "look whether `kappa up` runs" };
    }
    if (answer.ok) return answer;
    const text = await answer.text();
    if (answer.status === 401 && answer.headers.has("WWW-Authenticate")) { // without: Kafka's refusal, not the server's
      await token.another(used);
      continue;
    }
    let error = null;
    try { error = JSON.parse(text).error; } catch { /* not ours: a proxy's */ }
    throw error ?? { message: `The answer was ${answer.status} ${answer.statusText}.`, hint: "" };
  }
}

async function ask(path, options) {
  const answer = await request(path, options);
  return { text: await answer.text(), headers: answer.headers };
}

export const get = async (path, signal) => JSON.parse((await ask(path, { signal })).text);
export const getExact = async (path) => parseExact((await ask(path)).text);

export async function getLines(path) {
  const { text, headers } = await ask(path);
  return { rows: text.split("\n").filter(Boolean).map(parseExact), headers };
}

// Another site's page can send neither this type nor read the answer (serve/README.md, invariant 4).
const postText = async (path, body, signal) => (await ask(path, { method: "POST",
  headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal })).text;
export const post = async (path, body, signal) => JSON.parse(await postText(path, body, signal));
export const postExact = async (path, body, signal) => parseExact(await postText(path, body, signal));

export const processorPath = (name) => "v1/processors/" + encodeURIComponent(name);

// ---- Server-sent events, read by fetch: EventSource sends no token.

// Calls each(event, data, id) with texts until the stream ends. Throws what the server says.
export async function stream(path, signal, each) {
  const answer = await request(path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (text + value).split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const lines = part.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(name + ": ")).map((line) => line.slice(name.length + 2));
      if (field("data").length) each(field("event")[0], field("data").join("\n"), field("id")[0]);
    }
  }
}

// ---- The status, live, while the page is seen

const listeners = new Set();
let source = null; // what ends the stream, while there is one
let retry = null;
let latest = null;

export const live = {
  state: "connecting", // on, off, forbidden, crowded
  onstate: () => {},
  // Calls fn with each status, and with the last one soon; the answer stops that.
  watch(fn) {
    listeners.add(fn);
    if (latest) fn(latest);
    return () => listeners.delete(fn);
  },
};

function setState(state) {
  live.state = state;
  live.onstate(state);
}

function take(status) {
  latest = status;
  for (const fn of [...listeners]) fn(status);
}

function event(name, data) {
  if (name !== "status") return;
  setState("on");
  take(JSON.parse(data));
}

async function open() {
  clearTimeout(retry);
  const own = source = new AbortController();
  let state = "off";
  try {
    await stream("v1/status/stream", own.signal, event);
  } catch (error) {
    if (error.code === "forbidden") state = "forbidden";
    if (error.code === "again") { // too many watch already
      state = "crowded";
      get("v1/status").then(take, () => {});
    }
  }
  if (source !== own) return; // it was closed here
  source = null;
  setState(state);
  retry = setTimeout(open, 2000);
}

function close() {
  const own = source;
  clearTimeout(retry);
  source = null;
  own?.abort();
}

export function startLive() {
  const look = () => {
    if (document.hidden) close();
    else if (!source) open();
  };
  document.addEventListener("visibilitychange", look);
  look();
}
