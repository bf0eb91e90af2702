// How fast a version is replayed: a dialog that changes it while it runs, and says what holds it back.
import { post, processorPath } from "./api.js";
import { confirm } from "./dialog.js";
import { h } from "./dom.js";
import * as f from "./format.js";
import * as words from "./words.js";

// A field as a number > 0, or null where it is empty. Throws what people read.
function numberOf(input, what) {
  const text = input.value.trim();
  const value = Number(text);
  if (text === "") return null;
  if (!(value > 0) || !isFinite(value)) throw { message: `${what}: "${text}" is no number above zero.`, hint: "leave it empty for no limit" };
  return value;
}

export function limit(p, number) {
  const now = p.versions.find((v) => v.version === number).limit ?? {};
  const field = (id, value, placeholder) => h("input", { id, inputmode: "decimal", size: 9, placeholder, value: value ?? null });
  const records = field("limit-records", now.records_per_second, "as it can");
  const bytes = field("limit-bytes", now.bytes_per_second && now.bytes_per_second / 1e6, "as it can");
  const freshness = field("limit-freshness", now.freshness_ms, "not minded");
  const priority = field("limit-priority", now.freshness_ms ? now.priority : null, "1");
  const fields = h("div", { class: "fields" },
    h("label", {}, records, h("span", {}, "records a second")), h("label", {}, bytes, h("span", {}, "MB a second")),
    h("label", {}, freshness, h("span", {}, "ms until what serves shows a record, for 99 of 100 (p99)")),
    h("label", {}, priority, h("span", {}, "priority among replays with such a goal")));
  confirm(p.name, {
    title: `How fast v${number} of ${p.name} is replayed`,
    body: [fields, h("p", { class: "small dim" }, "Empty fields set no limit. It counts at once, until the version serves; no row depends on it.")],
    checks: (all) => {
      const v = all.versions.find((one) => one.version === number);
      if (!v || !words.isCandidate(v)) return [["no", `v${number} is not being replayed any more.`]];
      const serving = words.servingOf(all);
      return [["ok", `v${number} reads ${f.rate(v.rate)}, ${f.percent(v.progress)} done` + (words.eta(v) ? `, ${words.eta(v)}` : "") + "."],
        v.pace ? ["note", words.limitText(v) + "."] : ["ok", words.limitText(v) ? `It is ${words.limitText(v)}.` : "It reads as fast as it can."],
        ...(serving?.freshness ? [["ok", `v${serving.version} serves records within ${f.duration(serving.freshness.p99_ms / 1000)} (p99).`]] : [])];
    },
    verb: "Set",
    act: async () => {
      const asked = { records_per_second: numberOf(records, "Records a second"), bytes_per_second: numberOf(bytes, "MB a second"),
        freshness_ms: numberOf(freshness, "Freshness"), priority: numberOf(priority, "Priority") };
      if (asked.bytes_per_second) asked.bytes_per_second = Math.round(asked.bytes_per_second * 1e6);
      for (const name of ["finish_by", "broker_bytes_per_second"]) { // set by the command line
        if (now[name]) asked[name] = now[name];
      }
      const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== null));
      if (!given.freshness_ms) delete given.priority;
      const v = await post(`${processorPath(p.name)}/versions/${number}/limit`,
        { limit: Object.keys(given).length ? given : null, who: "dashboard" });
      return v.limit ? `v${number} is ${words.limitText({ limit: v.limit })}.` : `v${number} reads as fast as it can.`;
    },
  });
}
