// Receipts, messages, dead letters, late records and topics. All of it is shown as text.
import { get, getExact, getLines, live, processorPath } from "./api.js";
import { errorBox, h, put, table } from "./dom.js";
import { events } from "./events.js";
import * as f from "./format.js";
import { missing, tabs } from "./tabs.js";
import * as words from "./words.js";

const LIMIT = 200;
const LONG = 300; // characters of a value that are shown at once

// A value as text; long ones open when asked.
function valueCell(value) {
  if (value === null || value === undefined) return h("span", { class: "null" }, "null");
  const text = typeof value === "string" ? value : f.print(value);
  if (text.length <= LONG) return h("pre", {}, text);
  return h("details", {}, h("summary", {}, text.slice(0, LONG) + " \u2026"), h("pre", {}, text));
}

const recordLink = ({ topic, partition, offset }) =>
  h("a", { href: `#/topics/${encodeURIComponent(topic)}/${partition}@${f.print(offset)}` }, `${topic}/${partition} @ ${f.print(offset)}`);

// A page whose content is asked for, and again by a button.
async function fill(place, load) {
  place.setAttribute("aria-busy", "true");
  try {
    place.replaceChildren(...(await load()));
  } catch (error) {
    place.replaceChildren(errorBox(error));
  }
  place.removeAttribute("aria-busy");
}

// ---- Receipts

const cutText = (cut) => Object.entries(cut).map(([topic, offsets]) => `${topic} ${offsets.map((n) => n ?? "\u2013").join(" ")}`).join("; ");

const versionsText = (r) => (r.old ? `v${r.old} \u2192 v${r.new}` : `v${r.new}`);
const others = (r) => Object.entries(r.group?.members ?? {}).filter(([name]) => name !== r.processor);

function receiptRow(r) {
  const same = r.old_digest !== null && r.old_digest === r.new_digest;
  return [f.time(r.time), { auto: "swap, automatic", swap: "swap", rollback: "rollback" }[r.why] + (r.forced ? ", forced" : ""), r.who ?? "",
    h("span", {}, versionsText(r), ...others(r).map(([name]) => h("span", { class: "dim" }, ", with ",
      h("a", { href: `#/p/${encodeURIComponent(name)}/history` }, name)))), f.duration(r.hold_ms / 1000),
    r.old_digest === null ? "first version" : same ? "the same" : "differ",
    h("details", {}, h("summary", {}, "cut and digests"), h("pre", {},
      [`epoch ${r.epoch}`, `cut ${cutText(r.cut)}`, `old ${r.old_digest ?? "\u2013"}`, `new ${r.new_digest ?? "\u2013"}`,
        ...others(r).map(([name, m]) => `with ${name} ${versionsText(m)}, by the group ${r.group.name}`),
        ...(r.reason ? [`reason ${r.reason}`] : []), ...(r.forced ? [`policy overruled: ${r.overruled ?? "it said nothing"}`] : []),
        ...(r.checks ?? []).map((c) => `${c.setting} = ${f.plain(c.limit)}: ${f.plain(c.found)}`)].join("\n")))];
}

export function history(main, name) {
  const place = h("section", { class: "card" });
  const news = events(name);
  main.append(h("h1", { class: "head" }, name), tabs(name, "history"), place, news.el);
  let epoch = null;
  let drawn = "";
  const load = () => fill(place, async () => {
    const { receipts } = await get(processorPath(name) + "/history");
    const before = drawn;
    drawn = JSON.stringify(receipts);
    if (drawn === before) return [...place.childNodes]; // what was opened stays open
    if (receipts.length === 0) return [h("p", {}, "No version has been swapped in yet.")];
    return [h("h2", {}, `Receipts of ${f.some(receipts.length, "swap")}, newest first`), h("div", { class: "scroll" }, table(
      [{ name: "time", tight: true }, { name: "why" }, { name: "who" }, { name: "versions", tight: true },
        { name: "hold", tight: true, num: true }, { name: "digests" }, { name: "more" }], receipts.map(receiptRow), "cards"))];
  });
  const stop = live.watch((status) => {
    const p = status.processors.find((one) => one.name === name);
    if (epoch !== (p?.epoch ?? -1)) {
      epoch = p?.epoch ?? -1;
      void load();
    }
  });
  return () => { stop(); news.close(); };
}

// ---- Messages, dead letters and late records of a version

const valueText = (value) => (value === null || value === undefined ? value : f.plain(value));

const KINDS = {
  messages: {
    about: "Messages to topics (INSERT INTO) that are not sent: of the version that serves, what waits; of others, the newest of what they "
      + "made and do not send.",
    none: "There is none.",
    path: (name, version) => `${processorPath(name)}/outbox?version=${version}&limit=${LIMIT}`,
    says: words.outputsText,
    shows: "outbox",
    columns: [{ name: "by the record", tight: true }, { name: "to" }, { name: "key" }, { name: "value", value: true }],
    row: (m) => [recordLink(m), h("a", { href: "#/topics/" + encodeURIComponent(m.to) }, m.to), valueCell(valueText(m.key)), valueCell(m.value)],
    below: (name) => h("section", { class: "card" }, h("h2", {}, "Corrections"), h("p", {},
      "What was sent before a swap stays as it was sent. ", h("code", {}, `kappa corrections ${name}`),
      " says what the version that serves would have sent instead, and sends the difference when you ask; that is told below History then.")),
  },
  dead: {
    about: "Records that could not be processed: kept with the reason, counted, never blocking the stream.",
    none: "There is none.",
    columns: [{ name: "place", tight: true }, { name: "reason" }, { name: "value", value: true }],
    row: (r) => [recordLink(r), r.table ? `${r.table}: ${r.reason}` : r.reason, valueCell(r.value)],
  },
  late: {
    about: "Rows that came behind the watermark, of inputs declared with late = 'late'.",
    none: "There is none (inputs keep them with late = 'late'; else they are only counted).",
    columns: [{ name: "place", tight: true }, { name: "table" }, { name: "record", value: true }],
    row: ({ topic, partition, offset, table: of, ...rest }) =>
      [recordLink({ topic, partition, offset }), of ?? "", valueCell(rest.value ?? rest)],
  },
};

export function kept(main, name, kind) {
  const { about, none, path, says, shows, columns, row, below } = KINDS[kind];
  const place = h("div");
  const said = h("p", { class: "small" });
  const version = h("select", { id: "version", onchange: () => void load() });
  const again = h("button", { onclick: () => void load() }, "Load again");
  main.append(h("h1", { class: "head" }, name), tabs(name, kind), h("section", { class: "card" },
    h("p", { class: "dim" }, about),
    h("div", { class: "row head" }, h("label", {}, "Version ", version), again), says ? said : null, place), below ? below(name) : "");
  const load = () => fill(place, async () => {
    const body = await getExact(path ? path(name, version.value)
      : `${processorPath(name)}/versions/${version.value}/${kind}?limit=${LIMIT}`);
    const rows = body[kind];
    if (rows.length === 0) return [h("p", {}, none)];
    return [h("p", { class: "small dim" }, rows.length >= LIMIT ? `${LIMIT} of them; kappa ${shows ?? kind} shows more.` : `${rows.length} of them.`),
      h("div", { class: "scroll" }, table(columns, rows.map(row), "cards"))];
  });
  let known = null;
  return live.watch((status) => {
    const p = status.processors.find((one) => one.name === name);
    const numbers = p ? p.versions.map((v) => v.version) : [];
    const chosenOne = p?.versions.find((v) => String(v.version) === version.value);
    if (says && chosenOne) put(said, says(chosenOne));
    if (numbers.join() === known) return;
    known = numbers.join();
    const chosen = version.value || String(p?.serving ?? numbers.at(-1) ?? "");
    version.replaceChildren(...[...numbers].reverse().map((n) => h("option", { value: n }, `v${n}` + (n === p.serving ? ", serving" : ""))));
    version.value = chosen;
    again.disabled = !version.value;
    if (version.value) void load();
    else place.replaceChildren(p ? h("p", {}, "It has no version.") : missing(name));
  });
}

// ---- Topics, and what is archived of them

const archived = () => get("v1/archive").then((body) => new Map(body.topics.map((t) => [t.name, t])), () => new Map());
const sum = (a, what) => a.partitions.reduce((total, p) => total + what(p), 0);

function archiveText(a) {
  if (!a) return "not archived";
  const gaps = sum(a, (p) => p.gaps.length);
  const damaged = sum(a, (p) => p.damaged);
  return [a.archive === "on" ? "archived" : "archived once, now off", f.some(sum(a, (p) => p.records), "record"),
    f.bytes(sum(a, (p) => p.bytes)), gaps ? f.some(gaps, "gap") : null, damaged ? f.some(damaged, "damaged file") : null].filter(Boolean).join(", ");
}

export function topics(main) {
  const place = h("div", { class: "grid" });
  main.append(h("h1", { class: "head" }, "Topics"), place);
  void fill(place, async () => {
    const [{ topics: list }, archives] = await Promise.all([get("v1/topics"), archived()]);
    const names = new Set(list.map((t) => t.name));
    const gone = [...archives.values()].filter((a) => !names.has(a.name));
    if (list.length + gone.length === 0) {
      return [h("p", { class: "card" }, "There is no topic yet. ", h("code", {}, "kappa topic create NAME"), " makes one.")];
    }
    return [...list, ...gone].map((t) => h("article", { class: "card" },
      h("div", { class: "row" }, h("h2", {}, h("a", { href: "#/topics/" + encodeURIComponent(t.name) }, t.name)),
        h("span", { class: "dim push" }, Array.isArray(t.partitions) ? "only in the archive" : f.some(t.partitions, "partition"))),
      h("p", { class: "small dim under" }, archiveText(archives.get(t.name))),
      archives.get(t.name)?.error ? errorBox(archives.get(t.name).error, "warn") : null));
  });
  return () => {};
}

function archiveView(name, a) {
  if (!a) {
    return [h("p", { class: "small dim" }, "Nothing of it is archived. ", h("code", {}, `kappa topic set ${name} archive=on`),
      " keeps a compressed copy that outlives the broker's retention.")];
  }
  const gapText = (gap) => `${gap.from} to ${gap.to - 1}${gap.lost ? ", removed or lost" : ", never archived"}`;
  return [...(a.error ? [errorBox(a.error, "warn")] : []),
    h("details", {}, h("summary", {}, "Archive: " + archiveText(a)),
      h("p", { class: "small dim under" }, `From ${f.bytes(sum(a, (p) => p.raw_bytes))} of records` +
        (a.retain_ms >= 0 ? `; kept for ${f.duration(a.retain_ms / 1000)}` : "") +
        (a.retain_bytes >= 0 ? `; at most ${f.bytes(a.retain_bytes)} a partition` : "") + "."),
      h("div", { class: "scroll" }, table(
        [{ name: "partition" }, { name: "whole from", num: true }, { name: "up to", num: true }, { name: "records", num: true },
          { name: "on disk", num: true }, { name: "files", num: true }, { name: "damaged", num: true }, { name: "missing" }],
        a.partitions.map((p) => [String(p.partition), String(p.from), String(p.to), f.count(p.records), f.bytes(p.bytes),
          String(p.segments), p.damaged ? String(p.damaged) : "", p.gaps.map(gapText).join("; ")]), "cards")))];
}

const PLACES = [["newest", "the newest", "-10"], ["beginning", "the beginning", "beginning"],
  ["time", "a time", ""], ["offset", "an offset", ""]];

// With a partition and an offset: the records from there on.
export function topic(main, name, only, offset) {
  const path = `v1/topics/${encodeURIComponent(name)}/records`;
  const from = h("select", { id: "from" }, PLACES.map(([value, text]) => h("option", { value }, text)));
  const at = h("input", { id: "at", size: 22, "aria-label": "time or offset" });
  const partition = h("input", { id: "partition", size: 4, inputmode: "numeric", placeholder: "all" });
  const place = h("div");
  const archive = h("section", { class: "card" });
  let next = null;
  const position = () => {
    const text = at.value.trim();
    const one = from.value === "offset" && /^\d+$/.test(text) && partition.value.trim() !== "";
    return PLACES.find(([value]) => value === from.value)[2] || (from.value === "time" ? "@" : one ? partition.value.trim() + ":" : "") + text;
  };
  const form = h("form", { class: "row head", onsubmit: (event) => { event.preventDefault(); void load(position()); } },
    h("label", {}, "From ", from), at, h("label", {}, "Partition ", partition), h("button", { class: "main" }, "Read"));
  from.onchange = () => {
    at.hidden = !["time", "offset"].includes(from.value);
    at.placeholder = from.value === "time" ? "2026-01-31T12:00:00Z" : "1000, or 0:1000,1:900";
  };
  if (offset !== undefined) {
    partition.value = only;
    from.value = "offset";
    at.value = offset;
  }
  from.onchange();
  main.append(h("div", { class: "row head" }, h("h1", {}, name)), archive, h("section", { class: "card" }, form, place));
  void fill(archive, async () => archiveView(name, (await archived()).get(name)));
  const load = (where) => fill(place, async () => {
    const only = partition.value.trim();
    const query = new URLSearchParams({ from: where, limit: LIMIT, ...(only ? { partition: only } : {}) });
    const { rows, headers } = await getLines(`${path}?${query}`);
    next = headers.get("X-Kappa-Next");
    if (where === PLACES[0][2]) rows.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
    const end = headers.get("X-Kappa-At-End") === "yes";
    return [
      rows.length === 0 ? h("p", {}, "There is no record here.") : h("div", { class: "scroll" }, table(
        [{ name: "place", tight: true }, { name: "time", tight: true }, { name: "key" }, { name: "value", value: true }],
        rows.map((r) => [`${r.partition} @ ${f.print(r.offset)}`, f.time(r.time), valueCell(r.key), valueCell(r.value)]), "cards")),
      h("div", { class: "row" }, h("button", { onclick: () => void load(next) }, end ? "Look for newer ones" : "Next"),
        h("span", { class: "small dim" }, end ? "This is the end of the topic." : ""))];
  });
  void load(position());
  return () => {};
}
