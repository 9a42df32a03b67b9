// Entries dragged onto a folder of the list, or onto one on the way to here, move there. The keyboard's way is the dialogue of Move.

import { h } from "./dom.js";
import { moveTo } from "./actions.js";
import { many } from "./format.js";
import { attempt } from "./toast.js";

/** Says to the browser what is dragged, and to others nothing: names are nobody's business. */
const TYPE = "application/x-sarsen-entries";

/** Lets entries be dragged within `area` while the folder is shown. */
export function acceptMoves(area, folder, can, signal) {
  let dragged = null;
  let over = null;
  const on = (name, listener) => area.addEventListener(name, listener, { signal });
  const entryOf = (element) => folder.listing.shown[element.dataset.index];

  function mark(element) {
    if (over === element) return;
    over?.removeAttribute("data-drop");
    over = element;
    over?.setAttribute("data-drop", "");
  }

  /** Where a drop here would move to: {element, where}, or null. */
  function target(event) {
    const { cap, path } = folder.where;
    const step = event.target.closest?.(".crumbs [data-depth]");
    if (step) return Number(step.dataset.depth) < path.length ? { element: step, where: { cap, path: path.slice(0, Number(step.dataset.depth)) } } : null;
    const row = event.target.closest?.("[data-index]");
    const entry = row && entryOf(row);
    if (!entry || entry.kind !== "dir" || !entry.writable || dragged.includes(entry)) return null;
    return { element: row, where: { cap, path: [...path, entry.name] } };
  }

  on("dragstart", (event) => {
    dragged = null;
    const row = event.target.closest?.("[data-index]");
    const entry = row && entryOf(row);
    if (!entry) return;
    if (!can.isWritable()) {
      event.preventDefault();
      return;
    }
    const chosen = can.chosen();
    dragged = chosen.includes(entry) ? chosen : [entry];
    event.dataTransfer.setData(TYPE, "");
    event.dataTransfer.effectAllowed = "move";
    const picture = h("div", { class: "dragged" }, dragged.length === 1 ? entry.name : many(dragged.length, "entry", "entries"));
    document.body.append(picture);
    event.dataTransfer.setDragImage(picture, -12, -8);
    setTimeout(() => picture.remove());
  });
  for (const name of ["dragenter", "dragover"]) {
    on(name, (event) => {
      if (dragged === null) return;
      const found = target(event);
      mark(found?.element ?? null);
      if (found === null) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "move";
    });
  }
  on("dragleave", (event) => {
    if (!area.contains(event.relatedTarget)) mark(null);
  });
  on("dragend", () => {
    dragged = null;
    mark(null);
  });
  on("drop", (event) => {
    const [entries, found] = [dragged, dragged && target(event)];
    dragged = null;
    mark(null);
    if (!found) return;
    event.preventDefault();
    attempt(() => moveTo(folder, entries, found.where));
  });
}
