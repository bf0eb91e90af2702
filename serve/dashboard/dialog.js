// The dialog in front of what changes something: what is checked, a button that acts, and how it went.
import { live } from "./api.js";
import { errorBox, h, put } from "./dom.js";

// A dialog with a body, a list of checks that follows the status, and a button that acts.
// options: {title, body: [elements], checks(processor, status) -> [[kind, text]], verb, danger?, act() -> text}
// processor: a name, or null where it is about none.
// act may throw {message, hint}, which is shown; refused(error) is told then, too.
export function confirm(processor, options) {
  const checks = h("ul", { class: "checks" });
  const result = h("div");
  const go = h("button", { class: options.danger ? "danger" : "main", id: "go" }, options.verb);
  const cancel = h("button", { id: "cancel", onclick: () => dialog.close() }, "Cancel");
  const dialog = h("dialog", { "aria-label": options.title }, h("h2", {}, options.title),
    h("div", { class: "inside" }, checks, ...(options.body ?? []), result), h("div", { class: "row end" }, cancel, go));
  let drawn = "";
  const stop = live.watch((status) => {
    const p = status.processors.find((one) => one.name === processor) ?? null;
    const items = p || processor === null ? options.checks(p, status) : [];
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
