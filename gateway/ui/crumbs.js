// The way from the root to here, each step a link.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { format } from "./router.js";

/** What a root is called: its alias, or words for a cap, which is never shown here. */
export function nameOfRoot(root) {
  return root.startsWith("~") ? "Opened by cap" : root;
}

/** The words for a place that is not below one of the client's own folders; null for one that is. */
export function foreignPlace(root, path) {
  return root.startsWith("~") ? [nameOfRoot(root), ...path].join(" / ") : null;
}

/** The breadcrumbs of a path, with the title of the page for who does not see it, unless the page shows one. */
export function crumbs(root, path, titled = false) {
  const arrow = () => h("span", { class: "arrow", "aria-hidden": "true" }, icon("right"));
  const steps = [nameOfRoot(root), ...path].map((name, depth) => h("li", null, arrow(),
    h("a", { href: format(root, path.slice(0, depth)), "aria-current": depth === path.length ? "page" : undefined, title: name, dir: "auto", dataset: { depth } }, name)));
  const home = h("a", { href: "#/", class: "home", "aria-label": "All folders", title: "All folders" }, icon("folder"));
  const title = titled ? null : h("h1", { class: "hidden" }, path.at(-1) ?? nameOfRoot(root));
  return h("nav", { class: "crumbs", "aria-label": "Breadcrumbs" }, title, h("ol", null, h("li", null, home), steps));
}
