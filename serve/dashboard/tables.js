// The tables that are served, and one of them as it changes: its rows where they are few, else each change.
import { get, getLines, stream } from "./api.js";
import { errorBox, h, pill, put, show, table } from "./dom.js";
import * as f from "./format.js";
import { ask } from "./sql.js";

const ROWS_MAX = 300; // followed as rows; a larger table is followed by its changes
const LOG_MAX = 200;
const AGAIN_MS = 2000;
const NUMBERS = /^(bigint|integer|smallint|double|real|numeric)/;

export function tables(main) {
  const place = h("div", { class: "grid" });
  main.append(h("h1", { class: "head" }, "Tables"), place);
  get("v1/tables").then(({ tables: list }) => {
    if (list.length === 0) place.append(h("p", { class: "card" }, "No table is served yet."));
    place.append(...list.map((t) => h("article", { class: "card" },
      h("div", { class: "row" }, h("h2", {}, h("a", { href: "#/t/" + encodeURIComponent(t.name) }, t.name)),
        h("span", { class: "push" }, t.kind === "view" ? pill("view").el : "")),
      h("p", { class: "dim small under" }, `${t.processor} v${t.version}`),
      h("p", { class: "small" }, t.columns.map((c) => c.name + (c.key ? " (key)" : "")).join(", ")))));
  }, (error) => place.append(errorBox(error)));
  return () => {};
}

// ---- What a feed says, applied: rows by key, and the changes newest first

function state() {
  return { rows: new Map(), changed: new Set(), log: [], at: null, note: "", changes: 0, cuts: 0 };
}

function apply(now, event, data, live) {
  const key = event === "upsert" || event === "delete" ? f.print(data.key) : null;
  if (event === "reset") {
    now.rows.clear();
    now.cuts = 0;
  } else if (event === "upsert") {
    now.rows.set(key, data.row);
  } else if (event === "delete") {
    now.rows.delete(key);
  } else if (event === "swap") {
    now.note = `v${data.to} was swapped in for v${data.from} at ${f.time(Date.now())}.`;
  } else if (event === "cut") {
    now.at = data;
    now.cuts++;
  }
  if (key === null || (live && now.cuts === 0)) return;
  now.changes++;
  now.changed.add(key);
  now.log.unshift([f.time(Date.now()), event === "upsert" ? "+" : "\u2212", event === "upsert" ? data.row : data.key]);
  now.log.length = Math.min(now.log.length, LOG_MAX);
}

// ---- The page

function rowsTable(columns, now) {
  const shown = [...now.rows.entries()].map(([key, row]) => [key, columns.map((c) => row[c.name])]);
  const el = table(columns.map((c) => ({ name: c.name, num: NUMBERS.test(c.type), tight: c.type !== "text" })),
    shown.map(([, cells]) => cells.map((v) => (v === null || v === undefined ? h("span", { class: "null" }, "null") : f.plain(v)))));
  shown.forEach(([key], i) => { if (now.changed.has(key)) el.tBodies[0].rows[i].className = "changed"; });
  return el;
}

const logTable = (now) => table([{ name: "time", tight: true }, { name: "" , tight: true }, { name: "row, or the key that is gone", value: true }],
  now.log.map(([time, sign, value]) => [time, sign, h("pre", {}, f.print(value))]), "cards");

export function tablePage(main, name) {
  const path = "v1/tables/" + encodeURIComponent(name);
  const key = h("input", { id: "key", size: 14, placeholder: "any", spellcheck: "false" });
  const keyName = h("span", {}, "Key");
  const where = h("input", { id: "where", class: "wide mono", spellcheck: "false", autocomplete: "off", placeholder: "all rows; or: score > 5" });
  const summary = h("p", { class: "small dim", id: "summary" });
  const note = h("p", { class: "done" });
  const some = h("p", { class: "small" }, h("a", { href: "#/sql", onclick: () => ask(name) }, "Some of its rows, by SQL"));
  const place = h("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "rows" });
  const form = h("form", { class: "row head", onsubmit: (event) => { event.preventDefault(); void follow(); } },
    h("label", { id: "key-label" }, keyName, key), h("label", { class: "grow" }, "where ", where),
    h("button", { class: "main", id: "follow" }, "Follow"));
  main.append(h("div", { class: "row head" }, h("h1", {}, name)),
    h("section", { class: "card" }, form, note, summary, some, place));
  show(note, false);
  show(some, false);
  let source = null;
  let now = state();
  let turn = 0; // of follow: an earlier one that answers late is not heard
  let columns = [];

  const query = () => {
    const parts = new URLSearchParams();
    if (key.value.trim()) parts.append("key", key.value.trim());
    if (where.value.trim()) parts.append("where", where.value.trim());
    return parts;
  };
  const close = () => { source?.abort(); source = null; };

  function draw(few) {
    const version = now.at ? `v${now.at.version}, epoch ${now.at.epoch}; ` : "";
    put(summary, version + (few ? `${f.some(now.rows.size, "row")}, ${f.some(now.changes, "change")} since you look`
      : `more than ${ROWS_MAX} rows: ${f.some(now.changes, "change")} since you look, the newest first`));
    put(note, now.note);
    show(note, now.note !== "");
    if (few) place.replaceChildren(rowsTable(columns, now));
    else place.replaceChildren(now.log.length ? logTable(now) : h("p", { class: "dim" }, "Changes come here."));
    show(some, !few);
    now.changed.clear();
  }

  // Until it is closed; a stream that breaks off goes on behind the last cut.
  async function listen(few) {
    const own = source = new AbortController();
    let after = null;
    const each = (event, text, id) => {
      if (source !== own) return;
      const data = f.parseExact(text);
      if (event === "end") throw data.error;
      apply(now, event, data, few);
      if (few && now.rows.size > 2 * ROWS_MAX) { // it has grown
        close();
        now = state();
        void listen(false);
        draw(false);
      } else if (event === "cut") {
        after = id;
        draw(few);
      }
    };
    while (source === own) {
      const parts = query();
      parts.append("rows", few ? "1" : "0");
      if (after !== null) parts.append("after", after);
      try {
        await stream(`${path}/changes?${parts}`, own.signal, each);
      } catch (error) {
        if (source === own && error.code && !["closed", "again", "limit"].includes(error.code)) {
          close();
          place.replaceChildren(errorBox(error));
          return;
        }
      }
      if (source !== own) return;
      put(summary, "No connection; it is tried again.");
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async function follow() {
    const mine = ++turn;
    close();
    now = state();
    place.replaceChildren(h("p", { class: "dim" }, "Reading \u2026"));
    try {
      const list = (await get("v1/tables")).tables;
      const known = list.find((t) => t.name === name);
      columns = known?.columns ?? [];
      show(form, known?.kind !== "view"); // all rows of a view are followed
      const first = columns.find((c) => c.key);
      put(keyName, first ? first.name + " = " : "Key");
      show(keyName.parentElement, first !== undefined);
      const parts = query();
      parts.append("limit", ROWS_MAX + 1);
      const { rows } = await getLines(`${path}/rows?${parts}`);
      if (mine !== turn) return;
      if (columns.length === 0) columns = Object.keys(rows[0] ?? {}).map((column) => ({ name: column, type: "text" }));
      void listen(rows.length <= ROWS_MAX);
      draw(rows.length <= ROWS_MAX);
    } catch (error) {
      if (mine === turn) place.replaceChildren(errorBox(error));
    }
  }

  const hidden = () => { if (document.hidden) close(); else if (!source) void follow(); };
  document.addEventListener("visibilitychange", hidden);
  void follow();
  return () => { turn++; document.removeEventListener("visibilitychange", hidden); close(); };
}
