// Search by name below a folder, shown as it is found.

import { h, put, calmly } from "./dom.js";
import { icon } from "./icons.js";
import { stream } from "./api.js";
import { open } from "./dialogs.js";
import { bytes, many } from "./format.js";
import { iconOf } from "./kinds.js";
import { format, go } from "./router.js";

const SHOWN = 300;

/** Opens the results for a query; a result leads to its folder, and `preview(path, entry)` opens files. */
export function search({ where, root, title }, query, look) {
  const stop = new AbortController();
  const found = [];
  const line = h("p", { class: "quiet", role: "status", "aria-live": "polite" }, "Searching…");
  const list = h("ul", { class: "results" });
  const shown = open(`“${query}” in ${title}`, h("div", null, line, list), { wide: true, onclose: () => stop.abort() });
  const draw = calmly(100, () => {
    for (const hit of found.slice(list.children.length, SHOWN)) list.append(row(hit));
  });

  function row({ path, entry }) {
    const full = [...where.path, ...path];
    const open = () => {
      shown.close();
      if (entry.kind === "dir") go(format(root, full));
      else look(full, entry);
    };
    return h("li", null,
      h("button", { type: "button", class: "result", onclick: open }, icon(iconOf(entry)), h("bdi", { class: "label" }, entry.name ?? path.at(-1)),
        h("span", { class: "quiet", dir: "auto" }, ["", ...path.slice(0, -1)].join("/"), " ", bytes(entry.size))),
      h("button", { type: "button", class: "plain", "aria-label": `Go to the folder of ${path.at(-1)}`, title: "Go to its folder", onclick: () => { shown.close(); go(format(root, full.slice(0, -1))); } }, icon("folder")));
  }

  stream("POST", "search", { where, query }, (lines) => {
    for (const hit of lines) {
      if (hit.entry) found.push(hit);
      else if (hit.problem) put(line, hit.problem.detail ?? hit.problem.title);
      else if (hit.end) put(line, found.length === 0 ? "Nothing of that name." : `${many(found.length, "entry", "entries")}${hit.truncated || found.length > SHOWN ? "; only the first are shown" : ""}.`);
    }
    draw();
  }, stop.signal).catch((error) => error.name !== "AbortError" && put(line, error.message));
}
