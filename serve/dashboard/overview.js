// All processors.
import { live } from "./api.js";
import { disk } from "./disk.js";
import { errorBox, facts, h, keyed, pill, put, show } from "./dom.js";
import { events } from "./events.js";
import * as f from "./format.js";
import * as words from "./words.js";

function card() {
  const name = h("a", {});
  const state = pill();
  const group = pill("", "");
  const what = h("p", { class: "dim small under" });
  const numbers = facts("Lag", "Rate", "Records", "Dead");
  const bar = h("i");
  const text = h("span", { class: "small" });
  const candidate = h("div", { class: "candidate" }, text, h("div", { class: "bar cool" }, bar));
  const errors = h("div");
  let shown = "";
  return {
    el: h("article", { class: "card" },
      h("div", { class: "row" }, h("h2", {}, name), h("span", { class: "push row tight" }, group.el, state.el)),
      what, numbers.el, candidate, errors),
    update(p) {
      const v = words.servingOf(p);
      const next = words.newestCandidate(p);
      put(name, p.name);
      name.href = "#/p/" + encodeURIComponent(p.name);
      state.update(...words.health(p));
      show(group.el, p.group !== null);
      if (p.group) group.update("group " + p.group.name, "");
      put(what, v ? `v${v.version} serves ${v.tables.join(", ") || "no table"}` +
        (p.canary ? `; ${p.canary.share} % of the keys ${p.canary.shadow ? "compared with" : "from"} v${p.canary.version}` : "") : "no version serves yet");
      numbers.update(v ? words.lag(v) : "\u2013", v ? f.rate(v.rate) : "\u2013", v ? f.count(v.records) : "\u2013",
        v ? f.count(v.dead) : "\u2013");
      show(candidate, next !== null);
      if (next) {
        put(text, [`v${next.version} ${words.stateWord(next.state)}`, f.percent(next.progress),
          words.eta(next)].filter(Boolean).join(", "));
        bar.style.width = next.progress * 100 + "%";
      }
      const problems = [v?.error, v?.trouble, p.last_swap_error].filter(Boolean);
      if (JSON.stringify(problems) !== shown) {
        shown = JSON.stringify(problems);
        errors.replaceChildren(...problems.map((e) => errorBox(e, e === v?.error ? "" : "warn")));
      }
    },
  };
}

export function overview(main) {
  const grid = h("div", { class: "grid" });
  const empty = h("p", { class: "card" }, "There is no processor yet. ", h("code", {}, "kappa deploy FILE.sql"), " makes one; ", h("code", {}, "kappa init"), " makes an example project.");
  empty.hidden = true;
  const files = disk();
  const news = events(null);
  main.append(h("div", { class: "row head" }, h("h1", {}, "Processors")), empty, grid, news.el, files.el);
  const list = keyed(grid, (p) => p.name, card);
  const stop = live.watch((status) => {
    show(empty, status.processors.length === 0);
    list(status.processors);
  });
  return () => { stop(); files.close(); news.close(); };
}
