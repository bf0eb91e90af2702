// What differs between two versions at one cut: asked for, and shown, in short (in dialogs) or in full.
import { postExact, processorPath } from "./api.js";
import { errorBox, h, table } from "./dom.js";
import * as f from "./format.js";

const number = (n) => (n instanceof f.Figure ? Number(n.text) : n);
const short = (n) => (n == null ? "" : String(Number(number(n).toPrecision(3))));
const withUnit = (n, c) => (n == null ? "" : short(n) + (c.unit ? " " + c.unit : ""));
const keyNames = (t) => t.columns.filter((c) => c.key).map((c) => c.name);

function rowText(t, row) {
  const keys = keyNames(t);
  return (keys.length ? keys : Object.keys(row).slice(0, 3)).map((name) => `${name} ${f.plain(row[name])}`).join(", ");
}

// ---- Columns: how many rows differ, and how far

function columnsText(t) {
  return t.columns.filter((c) => c.differ > 0).map((c) =>
    `${c.name} in ${f.count(c.differ)}` + (c.p50 != null ? ` (by ${withUnit(c.p50, c)} at the median, ${withUnit(c.max, c)} at most)` : ""));
}

function columnsTable(t) {
  const some = t.columns.filter((c) => c.differ > 0);
  if (some.length === 0) return null;
  const figures = [["rows", (c) => f.count(c.differ)], ["mean", (c) => withUnit(c.mean, c)], ["median", (c) => withUnit(c.p50, c)],
    ["p90", (c) => withUnit(c.p90, c)], ["p99", (c) => withUnit(c.p99, c)], ["most", (c) => withUnit(c.max, c)],
    ["null on one side", (c) => (c.nulls ? f.count(c.nulls) : "")]].filter(([, text]) => some.some((c) => text(c) !== ""));
  return h("div", { class: "scroll" }, table([{ name: "differs in" }, ...figures.map(([name]) => ({ name, num: true }))],
    some.map((c) => [c.type_b ? `${c.name} (${c.type}, then ${c.type_b})` : c.name, ...figures.map(([, text]) => text(c))]), "cards"));
}

// ---- Samples, and the records that explain them

const place = (r) => h("a", { href: `#/topics/${encodeURIComponent(r.topic)}/${r.partition}@${f.plain(r.offset)}` },
  `${r.topic}/${r.partition} @ ${f.plain(r.offset)}`);

function recordsCell(records, a, b) {
  if (!records?.length) return "";
  return h("div", {}, records.map((r) => h("div", {}, place(r), r.in === "both" ? "" : `, only in v${r.in === "a" ? a : b}`)));
}

// Rows: [what, column, in a, in b, records]
function sampleRows(t, a, b) {
  const s = t.samples ?? {};
  const changed = (s.changed ?? []).flatMap((one, i) => one.columns.map((name, k) =>
    [rowText(t, one.a), name, f.plain(one.a[name]), f.plain(one.b[name]), k === 0 ? recordsCell(t.records?.changed?.[i], a, b) : ""]));
  const alone = (side) => (s["only_in_" + side] ?? []).map((row, i) => {
    const text = Object.entries(row).filter(([name]) => !keyNames(t).includes(name)).map(([name, v]) => `${name} ${f.plain(v)}`).join(", ");
    return [rowText(t, row), "the row", side === "a" ? text : "", side === "b" ? text : "",
      recordsCell(t.records?.["only_in_" + side]?.[i], a, b)];
  });
  return { changed, alone: [...alone("a"), ...alone("b")] };
}

function samples(t, a, b, full) {
  const rows = sampleRows(t, a, b);
  const all = full ? [...rows.changed, ...rows.alone] : rows.changed;
  if (all.length === 0) return null;
  const columns = [{ name: "row" }, { name: "column" }, { name: "v" + a }, { name: "v" + b }];
  const records = full && t.records;
  return h("div", { class: "scroll" }, table(records ? [...columns, { name: "by the records" }] : columns,
    all.map((row) => (records ? row : row.slice(0, 4))), "cards"));
}

// ---- A table

// Large tables: only what differs was read, and parts of a row may lie in several partitions.
const equalText = (t) => t.equal_most ? `${f.count(t.equal)} to ${f.count(t.equal_most)}` : f.count(t.equal);

function tableDiff(t, a, b, full) {
  const title = h("h3", {}, t.table);
  if (t.in !== "both") return h("div", {}, title, h("p", {}, `only in v${t.in === "a" ? a : b}`));
  if (t.identical) return h("div", {}, title, h("p", {}, "the same in all rows, by its digests"));
  if (t.why_not) return h("div", {}, title, h("p", {}, "cannot be compared: " + t.why_not));
  return h("div", {}, title,
    h("p", {}, `${f.count(t.changed)} changed, ${f.count(t.only_in_a)} only in v${a}, ${f.count(t.only_in_b)} only in v${b}, ${equalText(t)} equal`),
    ["a", "b"].map((side) => [side === "a" ? a : b, t.columns.filter((c) => c.in === side).map((c) => c.name)])
      .filter(([, names]) => names.length).map(([number, names]) =>
        h("p", { class: "small dim" }, `columns only in v${number}: ${names.join(", ")}`)),
    full ? columnsTable(t) : columnsText(t).map((text) => h("p", { class: "small dim" }, "differs: " + text)),
    samples(t, a, b, full),
    t.records_why_not ? h("p", { class: "small dim" }, "Which records make the difference cannot be told: " + t.records_why_not) : null,
    t.records_partial ? h("p", { class: "small dim" }, "The log has lost earlier records: there may be more that make the difference.") : null);
}

// ask: {a, b, limit, where?, exact?, records?}
export function diffView(processor, ask, full) {
  const { a, b } = ask;
  const el = h("div", { class: "compare" }, h("p", { class: "dim" }, `Comparing v${a} with v${b}, both at one cut \u2026`));
  const abort = new AbortController();
  const done = postExact(processorPath(processor) + "/diff", ask, abort.signal).then((diff) => {
    const rows = ask.where ? `every row where ${ask.where}` : "every row";
    el.replaceChildren(
      h("h2", {}, diff.same ? `v${a} and v${b} are the same in ${rows}` : `What differs between v${a} and v${b}`),
      ...diff.tables.map((t) => tableDiff(t, a, b, full)),
      h("p", { class: "small dim" }, `Compared in ${number(diff.seconds) < 0.0005 ? "less than 1 ms" : f.duration(number(diff.seconds))}; held for ${f.duration(number(diff.hold_ms) / 1000)}.`));
  }, (error) => {
    if (!abort.signal.aborted) el.replaceChildren(h("h2", {}, "The two could not be compared"), errorBox(error, "warn"));
  });
  return { el, done, abort: () => abort.abort() };
}
