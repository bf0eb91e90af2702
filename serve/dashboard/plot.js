// Lines over time, and the lives of versions, drawn as SVG.
import { h, svg, put } from "./dom.js";
import { time } from "./format.js";

const HEIGHT = 170;
const LEFT = 56;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 20;
const HOUR_MS = 3600e3;
const GAP_MS = 12e3; // no line across a hole in the points
export const COLOURS = 6;

// The smallest of 1, 2, 5 * 10^n that is not below `value`.
function nice(value) {
  if (!(value > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= value * 0.999999);
}

function pieces(points, x, y) {
  const lines = [];
  let line = null;
  let before = null;
  for (const [at, value] of points) {
    if (value === null) { line = null; continue; }
    if (!line || at - before > GAP_MS) lines.push(line = []);
    line.push(`${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    before = at;
  }
  return lines;
}

function agoText(ms) {
  const minutes = Math.round(ms / 30e3) / 2;
  return minutes === 0 ? "now" : `\u2212${minutes} min`;
}

// update([{name, colour, points: [[ms, number|null]]}])
// least: the top of the scale is not below it.
export function plot(title, format, least) {
  const picture = svg("svg", { class: "plot", role: "img" });
  const legend = h("div", { class: "legend" });
  const element = h("section", { class: "card" }, h("h2", {}, title), picture, legend);
  let series = [];
  let cursor = null; // ms

  function draw() {
    const width = picture.clientWidth || 400;
    const now = Date.now();
    const oldest = Math.min(...series.map((s) => s.points[0]?.[0] ?? now), now);
    const from = Math.max(now - HOUR_MS, Math.min(oldest, now - 300e3));
    const seen = series.map((s) => ({ ...s, points: s.points.filter((p) => p[0] >= from) }));
    const most = nice(Math.max(...seen.flatMap((s) => s.points.map((p) => p[1] ?? 0)), least));
    const x = (at) => LEFT + (at - from) / (now - from) * (width - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM);
    const parts = [0, 0.5, 1].flatMap((part) => [
      svg("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: y(most * part), y2: y(most * part) }),
      svg("text", { x: LEFT - 6, y: y(most * part) + 4, "text-anchor": "end" }, format(most * part))]);
    for (const [part, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
      const at = from + (now - from) * part;
      parts.push(svg("text", { x: x(at), y: HEIGHT - 5, "text-anchor": anchor }, agoText(now - at)));
    }
    for (const s of seen) {
      for (const line of pieces(s.points, x, y)) {
        parts.push(svg("polyline", { class: "c" + s.colour, points: line.length > 1 ? line.join(" ") : line[0] + " " + line[0],
          "stroke-linecap": "round" }));
      }
    }
    if (cursor !== null && cursor >= from) {
      parts.push(svg("line", { class: "cursor", x1: x(cursor), x2: x(cursor), y1: TOP, y2: HEIGHT - BOTTOM }));
    }
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.replaceChildren(...parts);
    picture.onpointermove = (event) => {
      const box = picture.getBoundingClientRect();
      const part = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
      cursor = part >= 0 && part <= 1 ? from + part * (now - from) : null;
      draw();
    };
    drawLegend(seen);
  }

  function drawLegend(seen) {
    const texts = seen.map((s) => {
      const point = cursor === null ? s.points.at(-1)
        : s.points.reduce((best, p) => (best && Math.abs(best[0] - cursor) <= Math.abs(p[0] - cursor) ? best : p), null);
      return `${s.name} ${point && point[1] !== null ? format(point[1]) : "?"}`;
    });
    if (cursor !== null) texts.push("at " + time(cursor));
    while (legend.children.length < texts.length) legend.append(h("span", {}, h("i"), h("b", { class: "small" })));
    while (legend.children.length > texts.length) legend.lastChild.remove();
    texts.forEach((text, i) => {
      legend.children[i].firstChild.className = seen[i] ? "c" + seen[i].colour : "";
      legend.children[i].firstChild.hidden = !seen[i];
      put(legend.children[i].lastChild, text);
    });
    picture.setAttribute("aria-label", `${title}, last hour. Now: ${texts.join(", ") || "nothing yet"}`);
  }

  picture.onpointerleave = () => { cursor = null; draw(); };
  const size = new ResizeObserver(() => draw());
  size.observe(picture);
  return {
    el: element,
    update(next) { series = next; draw(); },
    close: () => size.disconnect(),
  };
}

// When each version was there, and when it served. versions: of the status; receipts: newest first.
export function lives(versions, receipts, width) {
  const now = Date.now();
  const swaps = receipts.map((r) => ({ at: Date.parse(r.time), version: r.new, old: r.old })).reverse();
  const rows = versions.map((v) => ({
    version: v.version,
    from: Date.parse(v.created),
    to: ["retired", "aborted", "failed"].includes(v.state) ? Date.parse(v.since) : now,
    served: swaps.flatMap((s, i) => (s.version === v.version ? [[s.at, swaps[i + 1]?.at ?? now]] : [])),
  }));
  const start = Math.min(...rows.map((r) => r.from), now - 10e3);
  const left = 40;
  const x = (at) => left + (at - start) / (now - start) * (width - left - 4);
  const height = rows.length * 22 + 18;
  const picture = svg("svg", { class: "life", viewBox: `0 0 ${width} ${height}`, height, role: "img",
    "aria-label": rows.map((r) => `v${r.version}: since ${time(r.from)}, served ${r.served.length} times`).join("; ") });
  rows.forEach((row, i) => {
    const y = i * 22;
    const block = (from, to, name) => svg("rect", { class: name, x: x(from), y: y + 4, rx: 3, height: 12,
      width: Math.max(x(to) - x(from), 2) });
    picture.append(svg("text", { class: "name", x: 0, y: y + 14 }, "v" + row.version),
      block(row.from, Math.max(row.to, row.from), "built"), ...row.served.map(([a, b]) => block(a, b, "served")));
  });
  picture.append(svg("text", { x: left, y: height - 3 }, time(start)),
    svg("text", { x: width - 4, y: height - 3, "text-anchor": "end" }, "now"));
  return picture;
}
