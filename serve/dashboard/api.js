// Talking to the server. Addresses are relative, so that a proxy may put the page below a path.
import { parseExact } from "./format.js";

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw { code: "closed", message: "The server does not answer.", hint: "look whether `kappa up` runs" };
  }
  const text = await answer.text();
  if (!answer.ok) {
    let error = null;
    try { error = JSON.parse(text).error; } catch { /* not ours: a proxy's */ }
    throw error ?? { message: `The answer was ${answer.status} ${answer.statusText}.`, hint: "" };
  }
  return { text, headers: answer.headers };
}

export const get = async (path) => JSON.parse((await ask(path)).text);
export const getExact = async (path) => parseExact((await ask(path)).text);

export async function getLines(path) {
  const { text, headers } = await ask(path);
  return { rows: text.split("\n").filter(Boolean).map(parseExact), headers };
}

// Another site's page can send neither this type nor read the answer (serve/README.md, invariant 4).
const postText = async (path, body, signal) => (await ask(path, { method: "POST",
  headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal })).text;
export const post = async (path, body, signal) => JSON.parse(await postText(path, body, signal));
export const postExact = async (path, body) => parseExact(await postText(path, body));

export const processorPath = (name) => "v1/processors/" + encodeURIComponent(name);

// ---- The status, live: server-sent events while the page is seen.

const listeners = new Set();
let source = null;
let retry = null;
let latest = null;

export const live = {
  state: "connecting", // on, off
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

function open() {
  clearTimeout(retry);
  source = new EventSource("v1/status/stream");
  source.addEventListener("status", (event) => {
    setState("on");
    take(JSON.parse(event.data));
  });
  source.onerror = () => {
    setState("off");
    if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
    source = null;
    get("v1/status").then(take, () => {}); // too many watch already, perhaps
    retry = setTimeout(open, 3000);
  };
}

function close() {
  clearTimeout(retry);
  source?.close();
  source = null;
}

export function startLive() {
  const follow = () => {
    if (document.hidden) close();
    else if (!source) open();
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}
