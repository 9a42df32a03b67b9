// What changes in folders, told by place: whatever page shows that folder by then hears it, be it another than the one that began the change.

const told = new EventTarget();

/** Whether two places are one. */
export function isSame(a, b) {
  return a.cap === b.cap && a.path.length === b.path.length && a.path.every((name, depth) => name === b.path[depth]);
}

/** Tells of a change in the folder at `where`: {put: entries, removed: names, select: a name to go to, choose: whether to choose it, reload}. */
export function announce(where, change) {
  told.dispatchEvent(new CustomEvent("change", { detail: { where, change } }));
}

/** Hears of changes in the folder at `where` until `signal`. */
export function onChange(where, hear, signal) {
  told.addEventListener("change", ({ detail }) => isSame(detail.where, where) && hear(detail.change), { signal });
}
