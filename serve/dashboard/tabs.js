// The pages of a processor.
import { h } from "./dom.js";

export const tabs = (name, here) => h("nav", { class: "tabs", "aria-label": name },
  [["versions", ""], ["compare", "/compare"], ["history", "/history"], ["messages", "/messages"], ["dead", "/dead"], ["late", "/late"]].map(([text, path]) =>
    h("a", { href: "#/p/" + encodeURIComponent(name) + path, "aria-current": text === here ? "page" : null },
      text[0].toUpperCase() + text.slice(1))));
