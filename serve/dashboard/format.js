// Numbers, times and values as texts.

export function count(n) {
  if (n === null || n === undefined) return "?";
  if (Math.abs(n) < 10000) return String(Math.round(n));
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(n) >= size) return (n / size).toPrecision(3) + "\u202f" + unit;
  }
  return String(n);
}

export const some = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
export const rate = (n) => (n >= 0.05 && n < 10 ? n.toFixed(1) : count(n)) + "/s";

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "?";
  if (seconds < 0.0005) return "0 s";
  if (seconds < 1) return Math.round(seconds * 1000) + " ms";
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}

export const percent = (part) => (part >= 1 ? "100" : (Math.floor(part * 1000) / 10).toFixed(1)) + " %";

export function bytes(n) {
  if (n === null || n === undefined) return "?";
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (n >= size) return (n / size).toPrecision(3) + " " + unit;
  }
  return n + " B";
}

// The local time of a moment that the server gives in UTC; the date where it is not today's.
export function time(text) {
  const at = new Date(text);
  if (isNaN(at)) return String(text);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const clock = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
}

// A number with the digits that the server wrote, where a double has others.
export class Figure {
  constructor(text) { this.text = text; }
}

// JSON whose numbers keep all their digits (where the browser tells them).
export function parseExact(text) {
  return JSON.parse(text, (key, value, context) =>
    typeof value === "number" && context?.source !== undefined && String(value) !== context.source
      ? new Figure(context.source) : value);
}

export const plain = (value) => (typeof value === "string" ? value : print(value));

export function print(value) {
  if (value instanceof Figure) return value.text;
  if (Array.isArray(value)) return "[" + value.map(print).join(", ") + "]";
  if (value !== null && typeof value === "object") {
    return "{" + Object.entries(value).map(([k, v]) => JSON.stringify(k) + ": " + print(v)).join(", ") + "}";
  }
  return JSON.stringify(value);
}
