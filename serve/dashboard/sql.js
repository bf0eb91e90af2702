// Read-time SQL with a table of what it answers.
import { get, postExact } from "./api.js";
import { errorBox, h, put, table } from "./dom.js";
import * as f from "./format.js";

const ROWS_MAX = 1000;
let kept = ""; // the text stays while the page does
let asked = false; // by another page, which comes here next

const someRows = (table) => `SELECT * FROM "${table.replaceAll('"', '""')}" LIMIT 100`;

export function ask(table) {
  kept = someRows(table);
  asked = true;
}

const NUMBERS = /^(bigint|integer|smallint|double|real|numeric|int|float)/;

function cell(value) {
  if (value === null) return h("span", { class: "null" }, "null");
  return typeof value === "string" ? value : f.print(value);
}

function answerView(answer, seconds) {
  const columns = answer.columns.map((c) => ({ name: c.name, num: NUMBERS.test(c.type ?? ""), tight: c.type !== "text" }));
  const of = answer.stamps.map((s) => `${s.processor} v${s.version} (epoch ${s.epoch})`).join(", ");
  return [
    h("p", { class: "small dim", id: "summary", role: "status" },
      `${f.some(answer.rows.length, "row")}${answer.truncated ? ", and more that are not shown" : ""} in ${f.duration(seconds)}` +
      (of ? `, read from ${of}` : "")),
    h("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "rows" }, table(columns, answer.rows.map((row) => row.map(cell)))),
  ];
}

export function sql(main) {
  const text = h("textarea", { id: "text", spellcheck: "false", autocomplete: "off", "aria-label": "SQL",
    placeholder: "SELECT ... FROM ..." });
  const button = h("button", { class: "main", id: "run" }, "Run");
  const place = h("section", { class: "card" }, h("p", { class: "dim" }, "Rows come here."));
  const tables = h("div", { class: "chips" });
  const run = async () => {
    kept = text.value;
    button.disabled = true;
    put(button, "Runs \u2026");
    const begin = performance.now();
    try {
      const answer = await postExact("v1/sql", { sql: text.value, limit: ROWS_MAX });
      place.replaceChildren(...answerView(answer, (performance.now() - begin) / 1000));
    } catch (error) {
      place.replaceChildren(errorBox(error));
    }
    button.disabled = false;
    put(button, "Run");
  };
  button.onclick = () => void run();
  text.value = kept;
  text.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !button.disabled) {
      event.preventDefault();
      void run();
    }
  };
  main.append(h("h1", { class: "head" }, "SQL"), h("section", { class: "card" }, tables,
    h("p", {}), text, h("div", { class: "row" }, button, h("span", { class: "small dim" },
      `Ctrl+Enter runs it. Tables are read as they are served; at most ${ROWS_MAX} rows are shown.`))), place);
  get("v1/tables").then((body) => {
    tables.replaceChildren(...body.tables.map((t) => h("button", {
      title: t.columns.map((c) => `${c.name} ${c.type}${c.key ? ", key" : ""}`).join("\n"),
      onclick: () => { text.value = someRows(t.name); text.focus(); } }, t.name)));
    if (body.tables.length === 0) tables.append(h("span", { class: "dim" }, "No table is served yet."));
  }, (error) => tables.replaceChildren(errorBox(error)));
  if (asked) void run();
  asked = false;
  return () => { kept = text.value; };
}
