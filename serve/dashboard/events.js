// What has happened, newest first, as it happens: of all processors, or of one.
import { get } from "./api.js";
import { h, show } from "./dom.js";
import * as f from "./format.js";

const SHOWN = 12;
const WAIT_SECONDS = 25; // of one question; the server answers at once when something has happened
const PAUSE_MS = 300;
const AGAIN_MS = 5000;
const BAD = ["failed", "swap_failed", "refused", "worker_ended", "snapshot_failed", "lagging", "blocked", "late", "over_budget"];

function line(event) {
  const name = event.processor ?? "";
  const begins = name !== "" && event.message.startsWith(name + " ");
  return h("li", { class: BAD.includes(event.type) ? "bad" : null }, h("span", { class: "dim" }, f.time(event.time) + " "),
    begins ? h("a", { href: "#/p/" + encodeURIComponent(name) }, name) : null,
    begins ? event.message.slice(name.length) : event.message);
}

// only: a processor's name, or null.
export function events(only) {
  const list = h("ul", { class: "plain small events" });
  const none = h("p", { class: "small dim" }, "Nothing since the server has started.");
  const el = h("section", { class: "card" }, h("h2", {}, "What has happened"), list, none);
  let after = null;
  let closed = false;
  let asking = null;
  el.hidden = true;

  async function look() {
    if (asking || closed || document.hidden) return;
    asking = new AbortController();
    const query = new URLSearchParams(only === null ? {} : { processor: only });
    if (after === null) query.append("limit", SHOWN);
    else for (const [name, value] of [["after", after], ["wait", WAIT_SECONDS]]) query.append(name, value);
    let pause = PAUSE_MS;
    try {
      const { events: news, next } = await get("v1/events?" + query, asking.signal);
      after = next;
      list.prepend(...news.map(line).reverse().slice(0, SHOWN));
      while (list.children.length > SHOWN) list.lastChild.remove();
      show(none, list.children.length === 0);
      show(el, true);
    } catch (error) {
      if (error.code === "forbidden") closed = true; // he may not see it
      pause = AGAIN_MS;
    }
    asking = null;
    if (!closed) setTimeout(() => void look(), pause);
  }
  const seen = () => { if (document.hidden) asking?.abort(); else void look(); };
  document.addEventListener("visibilitychange", seen);
  void look();
  return { el, close() { closed = true; asking?.abort(); document.removeEventListener("visibilitychange", seen); } };
}
