// The dialogs behind the buttons: what is checked, what differs, and then the call.
import { live, post, processorPath } from "./api.js";
import { diffView } from "./diff.js";
import { errorBox, h, put, show } from "./dom.js";
import * as f from "./format.js";
import * as words from "./words.js";

// A dialog with a body, a list of checks that follows the status, and a button that acts.
// options: {title, body: [elements], checks(processor) -> [[kind, text]], verb, danger?, act() -> text}
// act may throw {message, hint}, which is shown; refused(error) is told then, too.
function confirm(processor, options) {
  const checks = h("ul", { class: "checks" });
  const result = h("div");
  const go = h("button", { class: options.danger ? "danger" : "main", id: "go" }, options.verb);
  const cancel = h("button", { id: "cancel", onclick: () => dialog.close() }, "Cancel");
  const dialog = h("dialog", { "aria-label": options.title }, h("h2", {}, options.title),
    h("div", { class: "inside" }, checks, ...(options.body ?? []), result), h("div", { class: "row end" }, cancel, go));
  let drawn = "";
  const stop = live.watch((status) => {
    const p = status.processors.find((one) => one.name === processor);
    const items = p ? options.checks(p) : [];
    if (JSON.stringify(items) === drawn) return;
    drawn = JSON.stringify(items);
    checks.replaceChildren(...items.map(([kind, text]) => h("li", { class: kind }, text)));
  });
  go.onclick = async () => {
    go.disabled = true;
    result.replaceChildren(h("p", { class: "dim" }, "Asked; waiting for the answer."));
    try {
      const text = await options.act();
      stop(); // the checks stay as they were
      result.replaceChildren(h("p", { class: "done", role: "status", id: "done" }, text));
      result.scrollIntoView({ block: "nearest" });
      go.remove();
      put(cancel, "Close");
      cancel.focus();
    } catch (error) {
      result.replaceChildren(errorBox(error));
      result.scrollIntoView({ block: "nearest" });
      go.disabled = false;
      options.refused?.(error);
    }
  };
  const opener = document.activeElement;
  dialog.addEventListener("close", () => {
    stop();
    options.closed?.();
    dialog.remove();
    opener?.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  cancel.focus();
  return { dialog, go };
}

const version = (p, number) => p.versions.find((v) => v.version === number);

function workerCheck(p, number) {
  const v = version(p, number);
  if (v.error) return ["no", `v${number} has an error: ${v.error.message}`];
  if (v.trouble) return ["note", `v${number} is in trouble: ${v.trouble.message}`];
  return v.worker.phase === "running" ? ["ok", `v${number} is running and has no error.`]
    : ["note", `The worker of v${number} is ${v.worker.phase}.`];
}

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
  if (v.held_back) checks.push(["no", `Its policy holds v${to} back: ${v.held_back.message}`]);
  else if (policy && !v.barred) checks.push(["ok", `Its policy is checked first, which may take a while: ${policy}.`]);
  if (v.barred) checks.push(["note", `v${to} was rolled back before.`]);
  if (old) {
    checks.push(workerCheck(p, from));
    checks.push([v.dead > old.dead ? "note" : "ok", `Dead records: ${f.count(v.dead)} in v${to}, ${f.count(old.dead)} in v${from}.`]);
    const lost = old.tables.filter((name) => !v.tables.includes(name));
    if (lost.length) checks.push(["note", `No longer served: ${lost.join(", ")}.`]);
  }
  if (v.outputs?.topics.length) {
    checks.push(["ok", `Messages to ${v.outputs.topics.join(", ")} are v${to}'s from the cut on, each sent once.`]);
  }
  checks.push(["ok", "The server brings both to one exact offset in each partition, for 2 s at most; readers move in one transaction. If anything fails, nothing changes."]);
  if (old) checks.push(["ok", `v${from} goes on reading on standby, so rolling back loses nothing.`]);
  return checks;
}

// ---- The actions

const receiptText = (r) =>
  `v${r.new} serves since ${f.time(r.time)} (epoch ${r.epoch}). Both versions were held for ${f.duration(r.hold_ms / 1000)}.`;

export function swap(p, number) {
  const from = p.serving;
  const name = p.name;
  const reason = h("input", { id: "reason", maxlength: 1000, size: 40, placeholder: "for the receipt" });
  const force = h("input", { id: "force", type: "checkbox" });
  const overrule = h("label", {}, force, h("span", {}, "Overrule the policy; takes a reason"));
  const offer = () => show(overrule, true);
  show(overrule, Boolean(version(p, number)?.held_back));
  const diff = from !== null && from !== number ? diffView(name, { a: from, b: number, limit: 3 }) : null;
  const { go } = confirm(name, {
    title: from === null ? `Let v${number} of ${name} serve` : `Swap ${name} from v${from} to v${number}`,
    checks: (now) => swapChecks(now, from, number),
    body: [diff?.el, h("p", { class: "row why-row" }, h("label", {}, "Reason ", reason), overrule)].filter(Boolean),
    verb: diff ? "Swap without waiting for the comparison" : "Swap",
    closed: () => diff?.abort(),
    refused: (error) => { if (error.code === "refused" && words.policyText(version(p, number), true)) offer(); },
    act: async () => receiptText(await post(processorPath(name) + "/swap", { version: number, who: "dashboard",
      ...(reason.value.trim() ? { reason: reason.value.trim() } : {}), ...(force.checked ? { force: true } : {}) })),
  });
  diff?.done.then(() => put(go, `Swap to v${number}`));
}

export function rollback(p) {
  const to = words.standbyOf(p).version;
  const from = p.serving;
  const name = p.name;
  let diff = null;
  const compare = h("div", { class: "compare" });
  compare.append(h("button", { onclick: () => {
    diff = diffView(name, { a: from, b: to, limit: 3 });
    compare.replaceWith(diff.el);
  } }, "Compare first"));
  confirm(name, {
    title: `Roll ${name} back from v${from} to v${to}`,
    checks: (now) => [...swapChecks(now, from, to),
      ["note", `v${from} is then swapped in only when a person asks for it.`]],
    body: [compare],
    verb: `Roll back to v${to}`,
    closed: () => diff?.abort(),
    act: async () => receiptText(await post(processorPath(name) + "/rollback", { who: "dashboard" })),
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
