// The addresses behind the '#', and the frame around the pages. A page is a function that fills <main> and gives
// back what ends it.
import { live, startLive } from "./api.js";
import { errorBox, put, show } from "./dom.js";
import { compare } from "./compare.js";
import { time } from "./format.js";
import { overview } from "./overview.js";
import { processor } from "./processor.js";
import * as records from "./records.js";
import { sql } from "./sql.js";
import { tablePage, tables } from "./tables.js";

const PAGES = [
  [/^$/, overview],
  [/^p\/([^/]+)$/, processor],
  [/^p\/([^/]+)\/compare$/, compare],
  [/^p\/([^/]+)\/history$/, records.history],
  [/^p\/([^/]+)\/messages$/, (main, name) => records.kept(main, name, "messages")],
  [/^p\/([^/]+)\/dead$/, (main, name) => records.kept(main, name, "dead")],
  [/^p\/([^/]+)\/late$/, (main, name) => records.kept(main, name, "late")],
  [/^topics$/, records.topics],
  [/^topics\/([^/]+)$/, records.topic],
  [/^topics\/([^/]+)\/(\d+)@(\d+)$/, records.topic],
  [/^tables$/, tables],
  [/^t\/([^/]+)$/, tablePage],
  [/^sql$/, sql],
];

const main = document.getElementById("main");
const sign = document.getElementById("live");
const stale = document.getElementById("stale");
let leave = () => {};

function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function route() {
  const path = location.hash.replace(/^#\/?/, "");
  leave();
  leave = () => {};
  for (const dialog of document.querySelectorAll("dialog:not(.token)")) dialog.close();
  main.replaceChildren();
  const found = PAGES.map(([pattern, page]) => [path.match(pattern), page]).find(([match]) => match);
  if (found) leave = found[1](main, ...found[0].slice(1).map(decode));
  else main.append(errorBox({ message: "There is no such page.", hint: "choose one at the top" }));
  const words = path.split("/").map(decode).filter(Boolean);
  document.title = [...words.slice(["p", "t"].includes(words[0]) ? 1 : 0), "Kappa"].join(" \u00b7 ");
  for (const link of document.querySelectorAll("header nav a")) {
    const target = link.hash.slice(2);
    const first = path.split("/")[0];
    const here = ({ "": "", p: "", t: "tables" }[first] ?? first) === target;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

// What was fetched before the server went away must not look like the truth; pages that could not be read then are read
// again when it is back.
live.onstate = (state) => {
  put(sign, { on: "live", crowded: "every 2 s", forbidden: "you may not read here" }[state] ?? "no connection");
  const lost = state === "off";
  if (lost && stale.hidden) {
    put(stale, `The server does not answer since ${time(Date.now())}. What stands here is older; it is tried again every 2 s.`);
  }
  show(stale, lost);
  main.classList.toggle("stale", lost);
  sign.className = state;
  if (state === "on" && main.querySelector('[data-code="closed"]')) route();
};
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => {
  route();
  main.focus({ preventScroll: true }); // with the menu in sight
  scrollTo(0, 0);
});
route();
startLive();
