// What the status means, in words: shared by the pages.
import * as f from "./format.js";

export const CANDIDATE = ["planned", "replaying", "catching_up", "ready"];
const KINDS = { serving: "good", standby: "cool", ready: "cool", replaying: "warn", catching_up: "warn",
  planned: "warn", paused: "", failed: "bad", aborted: "", retired: "" };

export const stateWord = (state) => state.replace("_", " ");
export const stateKind = (state) => KINDS[state] ?? "";

export const servingOf = (p) => p.versions.find((v) => v.version === p.serving) ?? null;
export const isCandidate = (v) => CANDIDATE.includes(v.state) || (v.state === "paused" && v.progress < 1);
export const newestCandidate = (p) => p.versions.filter(isCandidate).at(-1) ?? null;
export const standbyOf = (p) => p.versions.filter((v) => v.state === "standby").at(-1) ?? null;
export const isLive = (v) => !["retired", "aborted", "failed"].includes(v.state);

// The version that a swap without a number takes (controller/requests.c).
export function toSwap(p) {
  const ready = p.versions.filter((v) => v.state === "ready").at(-1);
  const forward = p.versions.filter((v) => v.state === "standby" && v.version > (p.serving ?? 0)).at(-1);
  return ready ?? forward ?? p.versions.filter((v) => CANDIDATE.includes(v.state)).at(-1) ?? null;
}

// [word, kind] for a processor.
export function health(p) {
  const serving = servingOf(p);
  if (!serving) return ["nothing serves", newestCandidate(p) ? "warn" : "bad"];
  if (serving.error) return ["stands still", "bad"];
  if (p.swap) return ["swapping", "cool"];
  if (serving.trouble) return ["in trouble", "warn"];
  if (serving.lag === null) return ["starting", "warn"];
  return serving.lag_seconds > 10 ? ["lagging", "warn"] : ["up to date", "good"];
}

export function eta(v) {
  if (v.state === "ready") return "";
  if (v.eta_seconds === null) return v.state === "replaying" || v.state === "catching_up" ? "ETA not known yet" : "";
  const [low, high] = v.eta_range ?? [v.eta_seconds, v.eta_seconds];
  if (v.eta_seconds < 1) return "ETA now";
  if (high === null) return `ETA ${f.duration(low)} or never`;
  return f.duration(low) === f.duration(high) ? `ETA ${f.duration(low)}` : `ETA ${f.duration(low)} to ${f.duration(high)}`;
}

// "sends to alerts: 4115 messages sent, 2 wait for 3.0 s", of others "would send to alerts: 40 messages"; or "".
export function outputsText(v) {
  const o = v.outputs;
  if (!o || (v.state !== "serving" && !o.shadow)) return "";
  const to = o.topics.join(", ");
  if (v.state !== "serving") return `would send to ${to}: ${f.some(o.shadow, "message")} kept to be looked at`;
  return `sends to ${to}: ${f.some(o.sent, "message")} sent` + (o.waiting ? `, ${f.count(o.waiting)} wait for ${f.duration(o.waiting_seconds)}` : "");
}

// "swap.max_dead = 10, swap.max_lag = 5 s", or "".
// checks: only what is checked before a swap.
const NO_CHECKS = ["swap.mode", "swap.standby", "swap.in_group", "swap.who", "swap.rollback"];
export const policyText = (v, checks) => Object.entries(v?.policy ?? {})
  .filter(([name]) => !checks || (name.startsWith("swap.") && !NO_CHECKS.includes(name))).map(([name, value]) => `${name} = ${value}`).join(", ");

// "limited to 50,000 records/s, freshness p99 ≤ 50 ms (now 20,000 records/s: ...)", or "".
export function limitText(v) {
  if (!v.limit) return "";
  const parts = [
    v.limit.records_per_second && f.count(v.limit.records_per_second) + " records/s",
    v.limit.bytes_per_second && f.bytes(v.limit.bytes_per_second) + "/s",
    v.limit.broker_bytes_per_second && `broker ≤ ${f.bytes(v.limit.broker_bytes_per_second)}/s`,
    v.limit.freshness_ms && `freshness p99 ≤ ${v.limit.freshness_ms} ms`,
    v.limit.finish_by && `finish by ${v.limit.finish_by}`,
  ];
  const rate = v.pace?.records_per_second;
  const now = v.pace ? ` (now ${rate ? f.count(rate) + " records/s" : "as fast as it can"}: ${v.pace.why})` : "";
  return "limited to " + parts.filter(Boolean).join(", ") + now;
}

export const lag = (v) => (v.lag === null ? "?" : `${f.count(v.lag)} (${f.duration(v.lag_seconds)})`);
export const fileName = (v) => v.file.split("/").at(-1);
