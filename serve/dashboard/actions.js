// The dialogs behind the buttons of versions: what is checked, what differs, and then the call.
import { get, post, processorPath } from "./api.js";
import { confirm } from "./dialog.js";
import { diffView } from "./diff.js";
import { h, put, show } from "./dom.js";
import * as f from "./format.js";
import * as words from "./words.js";

const version = (p, number) => p.versions.find((v) => v.version === number);

function workerCheck(p, number) {
  const v = version(p, number);
  if (v.error) return ["no", `v${number} has an error: ${v.error.message}`];
  if (v.trouble) return ["note", `v${number} is in trouble: ${v.trouble.message}`];
  return v.worker.phase === "running" ? ["ok", `v${number} is running and has no error.`]
    : ["note", `The worker of v${number} is ${v.worker.phase}.`];
}

// Not by the other members of its group, which groupChecks tells of.
const heldByPolicy = (p, v) => Boolean(v?.held_back) && !(p.group && v.held_back.message.includes(`group "${p.group.name}"`));

// What can be said before; the server checks all that matters again, at the cut.
function swapChecks(p, from, to) {
  const v = version(p, to);
  const old = version(p, from);
  if (!v) return [["no", `v${to} is gone.`]];
  const ready = ["ready", "standby", "serving"].includes(v.state);
  const checks = [
    ready ? ["ok", `v${to} has caught up (${words.stateWord(v.state)}) and is ${f.some(v.lag ?? 0, "record")} behind the live end.`]
      : ["no", `v${to} is ${words.stateWord(v.state)}, ${f.percent(v.progress)} done: it is not ready yet.`],
    workerCheck(p, to),
    v.complete ? ["ok", `v${to} has read its topics from their beginning.`]
      : ["note", `v${to} did not begin where the log begins: what lies before is not in its tables.`],
  ];
  const policy = words.policyText(v, true);
  if (heldByPolicy(p, v)) checks.push(["no", `Its policy holds v${to} back: ${v.held_back.message}`]);
  else if (policy && words.CANDIDATE.includes(v.state)) checks.push(["ok", `Its policy is checked first, which may take a while: ${policy}.`]);
  if (v.barred) checks.push(["note", `v${to} was rolled back before.`]);
  if (old) {
    checks.push(workerCheck(p, from));
    checks.push([v.dead > old.dead ? "note" : "ok", `Dead records: ${f.count(v.dead)} in v${to}, ${f.count(old.dead)} in v${from}.`]);
    const lost = old.tables.filter((name) => !v.tables.includes(name));
    if (lost.length) checks.push(["note", `No longer served: ${lost.join(", ")}.`]);
  }
  if (v.outputs?.topics.length) {
    checks.push(["ok", `Messages to ${v.outputs.topics.join(", ")} are v${to}'s from the cut on, each sent once; what was sent before stays (kappa corrections).`]);
  }
  checks.push(["ok", "The server brings both to one exact offset in each partition, for 2 s at most; readers move in one transaction. If anything fails, nothing changes."]);
  if (old) checks.push(["ok", `v${from} goes on reading on standby, so rolling back loses nothing.`]);
  return checks;
}

// Of a group: what moves with it, or holds it back.
function groupChecks(p, status) {
  const others = (p.group?.with ?? []).map((name) => status.processors.find((one) => one.name === name)).filter(Boolean);
  return others.map((other) => {
    const next = words.newestCandidate(other);
    const held = next?.held_back ? `: ${next.held_back.message}` : "";
    if (next?.state === "ready") return ["ok", `${other.name} changes over with it, to v${next.version}${held}.`];
    return ["no", next ? `${other.name} is of the group ${p.group.name}, and its v${next.version} is ${words.stateWord(next.state)}.`
      : `${other.name} is of the group ${p.group.name}, and has no version newer than v${other.serving ?? 0}.`];
  });
}

function aloneBox(p) {
  const input = h("input", { id: "alone", type: "checkbox" });
  const row = h("p", { class: "row why-row" }, h("label", {}, input, h("span", {}, "Alone: leave the others of its group where they are")));
  show(row, Boolean(p.group?.with.length));
  return { row, get on() { return input.checked; } };
}

// ---- The actions

function receiptText(r) {
  const others = Object.entries(r.group?.members ?? {}).filter(([name]) => name !== r.processor).map(([name, m]) => `${name} v${m.new}`);
  return `v${r.new} serves since ${f.time(r.time)} (epoch ${r.epoch})` + (others.length ? `, and with it ${others.join(", ")}` : "") +
    `. Both versions were held for ${f.duration(r.hold_ms / 1000)}.`;
}

export function swap(p, number) {
  const from = p.serving;
  const name = p.name;
  const reason = h("input", { id: "reason", maxlength: 1000, size: 40, placeholder: "for the receipt" });
  const force = h("input", { id: "force", type: "checkbox" });
  const overrule = h("label", {}, force, h("span", {}, "Overrule the policy; takes a reason"));
  const alone = aloneBox(p);
  const forward = words.CANDIDATE.includes(version(p, number)?.state);
  const offer = () => show(overrule, true);
  show(overrule, heldByPolicy(p, version(p, number)));
  const diff = from !== null && from !== number ? diffView(name, { a: from, b: number, limit: 3 }) : null;
  const { go } = confirm(name, {
    title: from === null ? `Let v${number} of ${name} serve` : `Swap ${name} from v${from} to v${number}`,
    checks: (now, status) => [...swapChecks(now, from, number), ...(forward ? groupChecks(now, status) : [])],
    body: [diff?.el, alone.row, h("p", { class: "row why-row" }, h("label", {}, "Reason ", reason), overrule)].filter(Boolean),
    verb: diff ? "Swap without waiting for the comparison" : "Swap",
    closed: () => diff?.abort(),
    refused: (error) => { if (error.code === "refused" && words.policyText(version(p, number), true)) offer(); },
    act: async () => receiptText(await post(processorPath(name) + "/swap", { version: number, who: "dashboard",
      ...(reason.value.trim() ? { reason: reason.value.trim() } : {}), ...(force.checked ? { force: true } : {}),
      ...(alone.on ? { alone: true } : {}) })),
  });
  diff?.done.then(() => put(go, `Swap to v${number}`));
}

// Those that moved in the swap that is taken back, by its receipt.
async function movedWith(p) {
  const { receipts } = await get(processorPath(p.name) + "/history").catch(() => ({ receipts: [] }));
  const members = Object.entries(receipts[0]?.group?.members ?? {});
  return members.filter(([name, m]) => name !== p.name && m.old !== 0).map(([name, m]) => [name, m.new, m.old]);
}

export async function rollback(p) {
  const to = words.standbyOf(p).version;
  const from = p.serving;
  const name = p.name;
  const others = await movedWith(p);
  const alone = aloneBox(p);
  show(alone.row, others.length > 0);
  let diff = null;
  const compare = h("div", { class: "compare" });
  compare.append(h("button", { onclick: () => {
    diff = diffView(name, { a: from, b: to, limit: 3 });
    compare.replaceWith(diff.el);
  } }, "Compare first"));
  confirm(name, {
    title: `Roll ${name} back from v${from} to v${to}`,
    checks: (now) => [...swapChecks(now, from, to),
      ...others.map(([other, was, will]) => ["ok", `${other} goes back with it, from v${was} to v${will}: they changed over together.`]),
      ["note", `v${from} is then swapped in only when a person asks for it.`]],
    body: [alone.row, compare],
    verb: `Roll back to v${to}`,
    closed: () => diff?.abort(),
    act: async () => receiptText(await post(processorPath(name) + "/rollback", { who: "dashboard", ...(alone.on ? { alone: true } : {}) })),
  });
}

const SIMPLE = {
  pause: { verb: "Pause", did: "is paused", checks: (v, p) => [
    ["ok", `v${v.version} stops reading; its tables and positions stay.`],
    ["ok", p.serving ? `v${p.serving} goes on serving.` : "Nothing serves now, so no reader notices."],
    ...(v.state === "standby" ? [["note", "There is no rolling back to it until it is resumed and has caught up."]] : [])] },
  resume: { verb: "Resume", did: "goes on", checks: (v) => [
    ["ok", `v${v.version} goes on where it stopped, ${f.some(v.lag ?? 0, "record")} behind.`]] },
  abort: { verb: "Abort", did: "is aborted", danger: true, checks: (v, p) => [
    ["note", `v${v.version} stops and its files are removed: ${f.count(v.records)} records would have to be read again.`],
    ["ok", p.serving ? `v${p.serving} goes on serving.` : "Nothing serves now, so no reader notices."]] },
};

export function simple(p, number, action) {
  const { verb, did, danger, checks } = SIMPLE[action];
  confirm(p.name, {
    title: `${verb} v${number} of ${p.name}`,
    checks: (now) => (version(now, number) ? checks(version(now, number), now) : []),
    verb: `${verb} v${number}`,
    danger,
    act: async () => {
      await post(`${processorPath(p.name)}/versions/${number}/${action}`, { who: "dashboard" });
      return `v${number} ${did}.`;
    },
  });
}
