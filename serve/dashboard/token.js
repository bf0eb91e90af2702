// The token that the person at the page has, for a server that asks for one: kept in this tab until it is closed.
import { h, put, show } from "./dom.js";

const KEY = "kappa-token";
let token = sessionStorage.getItem(KEY);
let asked = null; // while the dialog is open: what comes of it

export const current = () => token;
export const headers = () => (token ? { Authorization: "Bearer " + token } : {});

const out = document.getElementById("out");
out.onclick = () => {
  sessionStorage.removeItem(KEY);
  location.reload();
};
show(out, token !== null);

function keep(text) {
  token = text;
  sessionStorage.setItem(KEY, text);
  show(out, true);
}

function open(resolve) {
  const input = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true,
    "aria-label": "Token" });
  const said = h("p", { class: "error", role: "alert", id: "token-said", hidden: true });
  const dialog = h("dialog", { "aria-label": "Token", class: "token" }, h("h2", {}, "Who are you?"),
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!/^[!-~]+$/.test(text)) {
        put(said, "A token is one word of plain letters, digits and signs.");
        show(said, true);
        return;
      }
      keep(text);
      asked = null;
      dialog.remove();
      resolve();
    } },
    token ? h("p", { class: "error", role: "alert" }, "The server does not know this token, or not any more.") : null,
    h("p", {}, "This server asks for a token. ", h("code", {}, "kappa access add NAME --role read"), " makes one."),
    said, h("label", {}, "Token ", input),
    h("p", { class: "dim" }, "It is kept in this tab until you close it."),
    h("div", { class: "row end" }, h("button", { class: "main", id: "token-go" }, "Go on"))));
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing to see without
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}

// A request that showed `used` (null: nothing) was not let in: waits until there is another token. Asks once for all.
export function another(used) {
  if (token !== used) return Promise.resolve();
  asked ??= new Promise(open);
  return asked;
}
