// A share of the keys read from a candidate: how it goes, and the dialog that changes it.
import { post, processorPath } from "./api.js";
import { confirm } from "./dialog.js";
import { facts, h, put, show } from "./dom.js";
import * as f from "./format.js";
import * as words from "./words.js";

const SHARES = [0, 1, 5, 10, 25, 50, 100];

const shareText = (c) => (c.shadow ? `${c.share} % of the keys are read from v${c.version} too, and compared` :
  `${c.share} % of the keys are read from v${c.version}`);

const candidate = (p) => p.canary?.version ?? p.versions.filter((v) => v.state === "ready").at(-1)?.version ?? null;

function dialog(p) {
  const number = candidate(p);
  const share = h("input", { id: "share", type: "range", min: 0, max: 100, step: 1, value: p.canary?.share ?? 5, "aria-label": "share of the keys" });
  const shown = h("output", { class: "mono" });
  const shadow = h("input", { id: "shadow", type: "checkbox" });
  shadow.checked = p.canary?.shadow ?? false;
  const draw = () => {
    put(shown, share.value + " %");
    share.setAttribute("aria-valuetext", shown.textContent);
  };
  const choose = (n) => h("button", { type: "button", "data-share": n, onclick: () => { share.value = n; draw(); } }, n === 0 ? "off" : n + " %");
  share.oninput = draw;
  draw();
  confirm(p.name, {
    title: `A share of the keys of ${p.name} from v${number}`,
    body: [h("div", { class: "row" }, share, shown), h("div", { class: "chips under" }, SHARES.map(choose)),
      h("p", { class: "row why-row" }, h("label", {}, shadow, h("span", {}, "Only compare: the serving version answers")))],
    checks: (now) => {
      const v = now.versions.find((one) => one.version === number);
      return [now.canary ? ["note", shareText(now.canary) + "."] : ["ok", `All keys are read from v${now.serving}.`],
        v?.state === "ready" ? ["ok", `v${number} is ready, ${f.some(v.lag ?? 0, "record")} behind the live end.`]
          : ["no", `v${number} is ${v ? words.stateWord(v.state) : "gone"}: a canary is a candidate that is ready.`],
        ["ok", "Reads of one row by its key take part; scans, SQL and lists of keys stay with the serving version. Both are held at one cut while it changes."]];
    },
    verb: "Set",
    act: async () => {
      const body = { share: Number(share.value), shadow: shadow.checked, who: "dashboard" };
      const answer = await post(processorPath(p.name) + "/canary", body.share > 0 ? { ...body, version: number } : { ...body, shadow: false });
      return answer.canary ? shareText(answer.canary) + "." : "All keys are read from the version that serves.";
    },
  });
}

// The part of a processor's page.
export function canary(current) {
  const text = h("p", { class: "dim under" });
  const numbers = facts("Same", "Different", "One has no row", "Failed");
  const button = h("button", { id: "canary", onclick: () => dialog(current()) }, "Change the share");
  const el = h("section", { class: "card" }, h("div", { class: "row" }, h("h2", {}, "Canary"), h("span", { class: "push" }, button)), text, numbers.el);
  return {
    el,
    update(p) {
      const c = p.canary;
      show(el, c !== null || (p.serving !== null && candidate(p) !== null));
      put(text, c ? `${shareText(c)}, since ${f.time(c.since_ms)} (${c.who}).`
        : `v${candidate(p)} is ready: a share of the keys may be read from it before it serves.`);
      put(button, c ? "Change the share" : "Begin");
      show(numbers.el, Boolean(c?.reads));
      if (c?.reads) {
        const r = c.reads;
        numbers.update(f.count(r.same), f.count(r.different), f.count(r.missing + r.added), f.count(r.failed));
      }
    },
  };
}
