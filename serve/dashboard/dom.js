// Elements made of data. Everything that comes from outside becomes text, never markup.

function add(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const h = (tag, attributes, ...children) => add(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) =>
  add(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// Sets a text only where it differs, so that selections and screen readers are left in peace.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// Keeps the children of `container` in step with `items`: make(item) -> {el, update(item)}, once a key.
export function keyed(container, key, make) {
  let rows = new Map();
  return (items) => {
    const next = new Map();
    let at = container.firstElementChild;
    for (const item of items) {
      const id = key(item);
      const row = rows.get(id) ?? make(item);
      row.update(item);
      next.set(id, row);
      if (row.el === at) at = at.nextElementSibling;
      else container.insertBefore(row.el, at);
    }
    for (const [id, row] of rows) if (!next.has(id)) row.el.remove();
    rows = next;
  };
}

export function pill(text, kind) {
  const element = h("span", { class: "pill" });
  const update = (newText, newKind) => {
    put(element, newText);
    element.className = "pill " + (newKind ?? "");
  };
  update(text ?? "", kind);
  return { el: element, update };
}

// {message, hint} as people read it; the message may hold a caret under a line of SQL.
export function errorBox(error, kind) {
  const message = error.message ?? String(error);
  return h("div", { class: "error " + (kind ?? ""), role: "alert", "data-code": error.code },
    message.includes("\n") ? h("pre", {}, message) : h("p", {}, message),
    error.hint ? h("p", { class: "hint" }, "What to do: " + error.hint) : null);
}

export const facts = (...names) => {
  const values = names.map(() => h("dd", {}, "\u2013"));
  return {
    el: h("dl", { class: "facts" }, names.map((name, i) => h("div", {}, h("dt", {}, name), values[i]))),
    update: (...texts) => texts.forEach((text, i) => put(values[i], text)),
  };
};

// A table whose cells are texts or elements; columns: {name, num?, tight?, value?}.
export function table(columns, rows, kind) {
  const cell = (column) => [column.num && "num", column.tight && "tight", column.value && "value"]
    .filter(Boolean).join(" ") || null;
  return h("table", { class: kind ?? null },
    h("thead", {}, h("tr", {}, columns.map((c) => h("th", { scope: "col", class: c.num ? "num" : null }, c.name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value, i) =>
      h("td", { class: cell(columns[i]), "data-name": columns[i].name }, value))))));
}
