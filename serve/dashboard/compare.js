// Two versions of a processor, row by row, at one cut.
import { live } from "./api.js";
import { diffView } from "./diff.js";
import { h } from "./dom.js";
import { missing, tabs } from "./tabs.js";
import * as words from "./words.js";

const SAMPLES = 20; // rows of each kind and table

export function compare(main, name) {
  const a = h("select", { id: "a" });
  const b = h("select", { id: "b" });
  const where = h("input", { id: "where", class: "wide mono", spellcheck: "false", autocomplete: "off",
    placeholder: "all rows; or: score > 5 AND country = 'SE'" });
  const exact = h("input", { id: "exact", type: "checkbox" });
  const records = h("input", { id: "records", type: "checkbox" });
  const go = h("button", { class: "main", id: "go", disabled: true }, "Compare");
  const place = h("div");
  let diff = null;
  let busy = false;
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    diff?.abort();
    diff = diffView(name, { a: Number(a.value), b: Number(b.value), limit: SAMPLES,
      ...(where.value.trim() ? { where: where.value.trim() } : {}),
      ...(exact.checked ? { exact: true } : {}), ...(records.checked ? { records: true } : {}) }, true);
    place.replaceChildren(diff.el);
    busy = go.disabled = true;
    await diff.done;
    busy = go.disabled = false;
  } },
  h("div", { class: "row" }, h("label", {}, "Version ", a), h("label", {}, "with ", b),
    h("label", { class: "grow" }, "where ", where)),
  h("div", { class: "row head under" },
    h("label", { title: "Looks at all keys of large tables; without it, equal rows are counted between bounds" }, exact, h("span", {}, "Count equal rows exactly")),
    h("label", { title: "Reads the log again" }, records, h("span", {}, "Find the records that make the difference")), go));
  main.append(h("h1", { class: "head" }, name), tabs(name, "compare"), h("section", { class: "card" },
    h("p", { class: "dim" }, "Both are held at one cut for a moment, 2 s at most; what differs then is the definitions' doing."),
    form, place));
  let known = null;
  const stop = live.watch((status) => {
    const p = status.processors.find((one) => one.name === name);
    const versions = p ? p.versions.filter((v) => v.state !== "aborted") : [];
    const numbers = versions.map((v) => v.version);
    go.disabled = busy || numbers.length < 2;
    if (numbers.join() === known) return;
    known = numbers.join();
    if (!p) place.replaceChildren(missing(name));
    else if (numbers.length < 2) place.replaceChildren(h("p", {}, "It takes two versions: kappa deploy or kappa replay makes another one."));
    else if (!diff) place.replaceChildren();
    for (const [select, chosen] of [[a, p?.serving ?? numbers[0]], [b, p && (words.toSwap(p)?.version ?? words.standbyOf(p)?.version)]]) {
      const before = select.value;
      select.replaceChildren(...versions.map((v) => h("option", { value: v.version }, `v${v.version}, ${words.stateWord(v.state)}`)));
      select.value = before || String(chosen ?? numbers.at(-1) ?? "");
    }
  });
  return () => { stop(); diff?.abort(); };
}
