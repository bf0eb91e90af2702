// One processor: its versions, how far they are, and the buttons.
import * as actions from "./actions.js";
import { get, live, processorPath } from "./api.js";
import { canary } from "./canary.js";
import { errorBox, facts, h, keyed, pill, put, show } from "./dom.js";
import * as f from "./format.js";
import { limit } from "./limit.js";
import { COLOURS, lives, plot } from "./plot.js";
import { missing, tabs } from "./tabs.js";
import * as words from "./words.js";

const PARTITIONS_MAX = 64; // bars; those furthest behind
const PARTITIONS_OPEN = 16; // more of them are shown when asked for: the plots stay near
const OVER_SHOWN = 5; // versions that are over; the older ones when asked for
const LIVES_MAX = 20; // of the timeline
const POINT_MS = 5000;

// ---- One version

function partitions() {
  const grid = h("div", { class: "parts small" });
  const more = h("p", { class: "small dim" });
  let cells = [];
  return {
    el: h("div", {}, grid, more),
    update(v) {
      const sources = v.sources.length <= PARTITIONS_MAX ? v.sources
        : [...v.sources].sort((a, b) => (b.lag ?? 0) - (a.lag ?? 0)).slice(0, PARTITIONS_MAX);
      const topics = new Set(v.sources.map((s) => s.topic)).size;
      if (cells.length !== sources.length) {
        cells = sources.map(() => ({ name: h("span"), bar: h("i"), text: h("span") }));
        grid.replaceChildren(...cells.flatMap((c) => [c.name, h("div", { class: "bar" }, c.bar), c.text]));
      }
      sources.forEach((s, i) => {
        const all = s.end === null ? null : s.end - (s.start ?? 0);
        const part = all === null ? 0 : all <= 0 ? 1 : Math.min(1, Math.max(0, (s.next - (s.start ?? 0)) / all));
        put(cells[i].name, topics > 1 ? `${s.topic}/${s.partition}` : "partition " + s.partition);
        cells[i].name.title = `${s.topic}/${s.partition}`;
        cells[i].bar.style.width = part * 100 + "%";
        put(cells[i].text, s.lag === null ? "end unknown" : s.lag === 0 ? `at ${f.count(s.next)}, the end`
          : `${f.count(s.lag)} behind, ${f.duration(s.lag_seconds)}`);
      });
      put(more, sources.length < v.sources.length
        ? `The ${PARTITIONS_MAX} furthest behind of ${v.sources.length} partitions.` : "");
      show(more, more.textContent !== "");
    },
  };
}

const BUTTONS = {
  pause: (v) => ["replaying", "catching_up", "ready", "standby"].includes(v.state),
  resume: (v, p) => v.state === "paused" || (v.state === "serving" && v.error !== null && p.swap === null),
  abort: (v) => words.CANDIDATE.includes(v.state) || (v.state === "paused" && v.worker.phase !== "off"),
};

function versionRow(current) {
  return (first) => {
    const number = first.version;
    const state = pill();
    const what = h("span", { class: "small dim" });
    const numbers = facts("Lag", "Rate", "Records", "Dead / late");
    const bar = h("i");
    const progressText = h("p", { class: "small" });
    const progress = h("div", { class: "candidate" }, progressText, h("div", { class: "bar cool" }, bar));
    const parts = partitions();
    const details = h("details", {}, h("summary", {}, "Partitions"), parts.el);
    const more = h("p", { class: "small dim" });
    const sends = h("p", { class: "small dim" });
    const policy = h("p", { class: "small dim" });
    const errors = h("div");
    const buttons = Object.keys(BUTTONS).map((name) => h("button", {
      class: name === "abort" ? "danger" : null, "data-action": name,
      onclick: () => actions.simple(current(), number, name) }, name[0].toUpperCase() + name.slice(1)));
    const faster = h("button", { "data-action": "limit", onclick: () => limit(current(), number) }, "Limit");
    const swapTo = h("button", { "data-action": "swap-to", onclick: () => actions.swap(current(), number) }, "Swap to this");
    let opened = false; // once: then it is the reader's choice
    let shown = "";
    const el = h("div", { class: "version", "data-version": number },
      h("div", { class: "row" }, h("h3", {}, "v" + number), state.el, what,
        h("span", { class: "push row" }, swapTo, faster, buttons)),
      errors, numbers.el, progress, details, more, sends, policy);
    return {
      el,
      update(v) {
        const p = current();
        state.update(words.stateWord(v.state) + (v.barred ? ", rolled back" : ""), words.stateKind(v.state));
        put(what, `${words.fileName(v)}, since ${f.time(v.since)}` +
          (v.standby_until ? `, on standby until ${f.time(v.standby_until)}` : ""));
        what.title = v.file;
        numbers.update(words.lag(v), f.rate(v.rate), f.count(v.records), `${f.count(v.dead)} / ${f.count(v.late)}`);
        show(numbers.el, words.isLive(v));
        show(details, words.isLive(v));
        show(progress, words.isCandidate(v));
        put(progressText, [`${f.percent(v.progress)} of the log`, words.eta(v), words.limitText(v)].filter(Boolean).join(", "));
        bar.style.width = v.progress * 100 + "%";
        if (!opened && v.sources.length) {
          opened = true;
          details.open = words.isCandidate(v) && v.sources.length <= PARTITIONS_OPEN;
        }
        if (details.open || !details.hidden) parts.update(v);
        put(more, v.worker.rss_bytes ? `memory ${f.bytes(v.worker.rss_bytes)}, files ${f.bytes(v.worker.file_bytes)}, ` +
          `${f.some(v.shards, "shard")}, worker restarted ${f.some(v.worker.restarts, "time")}` : "");
        show(more, words.isLive(v) && more.textContent !== "");
        put(sends, words.outputsText(v));
        show(sends, words.isLive(v) && words.outputsText(v) !== "");
        put(policy, "policy: " + words.policyText(v));
        show(policy, words.isLive(v) && words.policyText(v) !== "");
        buttons.forEach((b) => show(b, BUTTONS[b.dataset.action](v, p)));
        show(faster, words.isCandidate(v) && (v.state !== "ready" || v.limit !== null));
        show(swapTo, ["ready", "standby"].includes(v.state));
        const held = v.held_back ? { ...v.held_back, message: "Ready, but not swapped in: " + v.held_back.message } : null;
        const problems = [v.error, v.trouble, held].filter(Boolean);
        if (JSON.stringify(problems) !== shown) {
          shown = JSON.stringify(problems);
          errors.replaceChildren(...problems.map((e) => errorBox(e, e === v.error ? "" : "warn")));
        }
      },
    };
  };
}

// ---- Plots: fetched once, then continued from the stream

function plots(name) {
  const lagPlot = plot("Lag (records)", f.count, 10);
  const behindPlot = plot("Freshness (time behind)", f.duration, 1);
  const ratePlot = plot("Rate (records/s)", f.count, 10);
  const known = new Map(); // version -> points
  let noted = 0;
  let fetched = false;
  const draw = () => {
    const versions = [...known.keys()].sort((a, b) => a - b).filter((n) => known.get(n).length > 0).slice(-COLOURS);
    const series = (index) => versions.map((n) => ({ name: "v" + n, colour: (n - 1) % COLOURS + 1,
      points: known.get(n).map((p) => [p[0], p[index]]) }));
    lagPlot.update(series(1));
    behindPlot.update(series(2));
    ratePlot.update(series(3));
  };
  get(processorPath(name) + "/plots").then((body) => {
    for (const v of body.versions) known.set(v.version, v.points);
    noted = Date.now();
    draw();
  }, () => {}).finally(() => { fetched = true; });
  return {
    el: h("div", { class: "plots" }, lagPlot.el, behindPlot.el, ratePlot.el),
    update(p) {
      const now = Date.now();
      if (!fetched || now - noted < POINT_MS) return;
      noted = now;
      for (const v of p.versions) {
        if (v.worker.phase !== "running") continue;
        const points = known.get(v.version) ?? [];
        points.push([now, v.lag, v.lag_seconds, v.rate]);
        known.set(v.version, points.filter((point) => point[0] > now - 3600e3));
      }
      draw();
    },
    close() { lagPlot.close(); behindPlot.close(); ratePlot.close(); },
  };
}

// ---- The timeline

function timeline(name) {
  const place = h("div");
  const said = h("p", { class: "small dim" });
  const el = h("section", { class: "card" }, h("h2", {}, "Versions over time"), place, said);
  let receipts = [];
  let epoch = null;
  let processor = null;
  const draw = () => {
    const all = processor?.versions ?? [];
    const drawn = all.filter((v, i) => words.isLive(v) || i >= all.length - LIVES_MAX);
    put(said, "Grey: there. Coloured: serving." + (drawn.length < all.length ? ` The newest ${drawn.length} of ${all.length}.` : ""));
    if (drawn.length) place.replaceChildren(lives(drawn, receipts, place.clientWidth || 400));
  };
  const size = new ResizeObserver(draw);
  size.observe(place);
  return {
    el,
    async update(p) {
      const changed = processor === null || processor.versions.map((v) => v.state).join() !== p.versions.map((v) => v.state).join();
      const due = processor === null || changed || Date.now() - this.drawn > POINT_MS;
      processor = p;
      if (epoch !== p.epoch) {
        epoch = p.epoch;
        receipts = await get(processorPath(name) + "/history").then((body) => body.receipts, () => []);
        draw();
      } else if (due) {
        draw();
      }
      if (due) this.drawn = Date.now();
    },
    drawn: 0,
    close: () => size.disconnect(),
  };
}

// ---- The page

function explain(p) {
  const next = words.toSwap(p);
  const back = words.standbyOf(p);
  const texts = [];
  if (!next) texts.push("Nothing to swap in: kappa deploy or kappa replay makes a new version.");
  else if (!["ready", "standby"].includes(next.state)) texts.push(`v${next.version} can be swapped in when it has caught up.`);
  if (!back) texts.push("No version is on standby to roll back to.");
  else if (back.barred) texts.push(`v${back.version} on standby was itself rolled back: swap to it instead.`);
  return texts.join(" ");
}

function servesText(p, serving) {
  if (!serving) return ["No version serves yet."];
  const links = serving.tables.flatMap((name, i) => [i ? ", " : "", h("a", { href: "#/t/" + encodeURIComponent(name) }, name)]);
  return [`v${serving.version} serves `, ...(links.length ? links : ["no table"]), `; epoch ${p.epoch}`];
}

function groupText(group) {
  if (!group) return [];
  const others = group.with.flatMap((name, i) => [i ? ", " : "", h("a", { href: "#/p/" + encodeURIComponent(name) }, name)]);
  return [h("span", { class: "pill cool" }, "group " + group.name), " ",
    ...(others.length ? ["changes over and back together with ", ...others] : ["has no other member yet"]), "."];
}

export function processor(main, name) {
  let current = null;
  const state = pill();
  const none = h("div");
  const swap = h("button", { class: "main", id: "swap", onclick: () => actions.swap(current, words.toSwap(current).version) }, "Swap");
  const back = h("button", { id: "rollback", onclick: () => void actions.rollback(current) }, "Roll back");
  const why = h("p", { class: "small dim why" });
  const together = h("p", { class: "small why" });
  const share = canary(() => current);
  const what = h("p", { class: "dim" });
  const errors = h("div");
  const list = h("div");
  const olderList = h("div");
  const olderTitle = h("summary");
  const older = h("details", { id: "older" }, olderTitle, olderList);
  const charts = plots(name);
  const life = timeline(name);
  const body = h("div", {}, errors, h("section", { class: "card row" }, swap, back, why, together), share.el,
    h("section", { class: "card" }, h("h2", {}, "Versions"), list, older), charts.el, life.el);
  body.hidden = true;
  main.append(h("div", { class: "row head" }, h("h1", {}, name), state.el), what, tabs(name, "versions"), none, body);
  const rows = keyed(list, (v) => v.version, versionRow(() => current));
  const olderRows = keyed(olderList, (v) => v.version, versionRow(() => current));
  let shown = "";
  let grouped = "";
  const stop = live.watch((status) => {
    current = status.processors.find((p) => p.name === name) ?? null;
    show(body, current !== null);
    none.replaceChildren(...(current ? [] : [missing(name)]));
    if (!current) return;
    const p = current;
    const next = words.toSwap(p);
    const standby = words.standbyOf(p);
    const serving = words.servingOf(p);
    state.update(...words.health(p));
    if (what.dataset.of !== `${p.serving} ${p.epoch}`) {
      what.dataset.of = `${p.serving} ${p.epoch}`;
      what.replaceChildren(...servesText(p, serving));
    }
    swap.disabled = !next || !["ready", "standby"].includes(next.state) || p.swap !== null;
    put(swap, next ? `Swap to v${next.version}` : "Swap");
    back.disabled = !standby || standby.barred || p.swap !== null;
    put(back, standby && !standby.barred ? `Roll back to v${standby.version}` : "Roll back");
    put(why, explain(p));
    if (JSON.stringify(p.group) !== grouped) {
      grouped = JSON.stringify(p.group);
      together.replaceChildren(...groupText(p.group));
      show(together, p.group !== null);
    }
    share.update(p);
    const problems = JSON.stringify(p.last_swap_error);
    if (problems !== shown) {
      shown = problems;
      errors.replaceChildren(...(p.last_swap_error ? [errorBox({ ...p.last_swap_error,
        message: "The last swap did not happen: " + p.last_swap_error.message }, "warn")] : []));
    }
    const newest = [...p.versions].reverse();
    const over = newest.filter((v) => !words.isLive(v)).slice(OVER_SHOWN);
    rows(newest.filter((v) => !over.includes(v)));
    olderRows(over);
    put(olderTitle, f.some(over.length, "older version") + (over.length === 1 ? " that is over" : " that are over"));
    show(older, over.length > 0);
    charts.update(p);
    void life.update(p);
  });
  return () => { stop(); charts.close(); life.close(); };
}
