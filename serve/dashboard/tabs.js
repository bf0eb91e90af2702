// The pages of a processor.
import { errorBox, h } from "./dom.js";

export const missing = (name) => errorBox({ message: `There is no processor "${name}".`,
  hint: "the list of processors is under Processors, at the top" });

export const tabs = (name, here) => h("nav", { class: "tabs", "aria-label": name },
  [["versions", ""], ["compare", "/compare"], ["history", "/history"], ["messages", "/messages"], ["dead", "/dead"], ["late", "/late"]].map(([text, path]) =>
    h("a", { href: "#/p/" + encodeURIComponent(name) + path, "aria-current": text === here ? "page" : null },
      text[0].toUpperCase() + text.slice(1))));
