// The disk that versions take, its budget, and what could go.
import { post } from "./api.js";
import { confirm } from "./dialog.js";
import { h, put, show } from "./dom.js";
import * as f from "./format.js";

const EVERY_MS = 30e3;

const looked = () => post("v1/gc", { dry_run: true });
const name = (v) => `${v.processor} v${v.version}`;
// "2 versions, 1 snapshot", or "".
const things = (gc) => [["version", gc.versions], ["snapshot", gc.snapshots], ["plugin", gc.plugins]]
  .filter(([, list]) => list.length > 0).map(([word, list]) => f.some(list.length, word)).join(", ");

function clean(after) {
  const list = h("div");
  confirm(null, {
    title: "Remove what nobody needs any more",
    body: [list],
    checks: () => [["ok", "Nothing that serves, stands by or is on its way is touched; a version that is gone can be replayed again."]],
    verb: "Remove",
    danger: true,
    closed: after,
    act: async () => {
      const gone = await post("v1/gc", { who: "dashboard" });
      return things(gone) ? `Removed: ${things(gone)}; ${f.bytes(gone.bytes)} freed.` : "Nothing was left to remove.";
    },
  });
  looked().then((gc) => list.replaceChildren(h("ul", { class: "plain small" },
    gc.versions.map((v) => h("li", {}, `${name(v)}, ${f.bytes(v.bytes)}: ${v.why}`)),
    gc.snapshots.map((s) => h("li", {}, `snapshot ${s.snapshot} of ${s.processor}, ${f.bytes(s.bytes)}: ${s.why}`)),
    gc.plugins.map((plugin) => h("li", {}, `plugin ${plugin.file}, ${f.bytes(plugin.bytes)}`)))), () => {});
}

export function disk() {
  const text = h("p", { class: "small dim" });
  const bar = h("i");
  const track = h("div", { class: "bar" }, bar);
  const button = h("button", { id: "clean", onclick: () => clean(() => void look()) }, "Clean up");
  const el = h("section", { class: "card disk" }, h("div", { class: "row" }, h("h2", {}, "Disk"), h("span", { class: "push" }, button)), text, track);
  el.hidden = true;
  async function look() {
    let gc;
    try { gc = await looked(); } catch { show(el, false); return; } // he may not see it
    const frees = things(gc) ? `That nobody needs any more: ${things(gc)}, ${f.bytes(gc.bytes)}.` : "Nothing of it is over.";
    const kept = gc.snapshots_used.count > 0 ? `, ${f.some(gc.snapshots_used.count, "snapshot")} of that ${f.bytes(gc.snapshots_used.bytes)}` : "";
    put(text, `Versions take ${f.bytes(gc.used)}${kept}` + (gc.budget ? ` of their budget of ${f.bytes(gc.budget)}` : ", without a budget") + `. ${frees}`);
    show(track, gc.budget !== null);
    if (gc.budget) {
      bar.style.width = Math.min(100, gc.used / gc.budget * 100) + "%";
      track.className = gc.used > gc.budget ? "bar over" : "bar";
    }
    show(button, things(gc) !== "");
    show(el, gc.used > 0);
  }
  void look();
  const timer = setInterval(() => { if (!document.hidden) void look(); }, EVERY_MS);
  return { el, close: () => clearInterval(timer) };
}
