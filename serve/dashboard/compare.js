// Two versions of a processor, row by row, at one cut.
import { diffView } from "./actions.js";
import { live } from "./api.js";
import { h } from "./dom.js";
import { tabs } from "./tabs.js";
import * as words from "./words.js";

const SAMPLES = 20; // rows of each kind and table

export function compare(main, name) {
  const a = h("select", { id: "a" });
  const b = h("select", { id: "b" });
  const go = h("button", { class: "main", id: "go" }, "Compare");
  const place = h("div");
  let diff = null;
  let busy = false;
  const form = h("form", { class: "row head", onsubmit: async (event) => {
    event.preventDefault();
    diff?.abort();
    diff = diffView(name, Number(a.value), Number(b.value), SAMPLES);
    place.replaceChildren(diff.el);
    busy = go.disabled = true;
    await diff.done;
    busy = go.disabled = false;
  } }, h("label", {}, "Version ", a), h("label", {}, "with ", b), go);
  main.append(h("h1", { class: "head" }, name), tabs(name, "compare"), h("section", { class: "card" },
    h("p", { class: "dim" }, "Both are held at one cut for a moment, 2 s at most; what differs then is the definitions' doing."),
    form, place));
  let known = "";
  const stop = live.watch((status) => {
    const p = status.processors.find((one) => one.name === name);
    const versions = p ? p.versions.filter((v) => v.state !== "aborted") : [];
    const numbers = versions.map((v) => v.version);
    go.disabled = busy || numbers.length < 2;
    if (numbers.join() === known) return;
    known = numbers.join();
    for (const [select, chosen] of [[a, p?.serving ?? numbers[0]], [b, p && (words.toSwap(p)?.version ?? words.standbyOf(p)?.version)]]) {
      const before = select.value;
      select.replaceChildren(...versions.map((v) => h("option", { value: v.version }, `v${v.version}, ${words.stateWord(v.state)}`)));
      select.value = before || String(chosen ?? numbers.at(-1) ?? "");
    }
  });
  return () => { stop(); diff?.abort(); };
}
