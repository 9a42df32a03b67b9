// The entries of a directory as they stream in, ordered and filtered. No page in here.

import { LINES, SLICE, breathe, stream } from "./api.js";
import { sortKey } from "./format.js";

const rank = (entry) => (entry.kind === "dir" ? 0 : 1);
const ORDERS = {
  name: (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
  size: (a, b) => (a.size ?? -1) - (b.size ?? -1),
  modified: (a, b) => (a.modified ?? 0) - (b.modified ?? 0),
};

/** Entries that are ordered at once, and how long the page may not be told, in milliseconds: to order more would be felt. */
const [ENOUGH, TELL] = [1000, 100];

export class Listing {
  /** All entries, in order. */
  entries = [];
  /** Those that the filter lets through. */
  shown = [];
  /** What the first line of the answer says: writable, cap, read, verify. */
  dir = null;
  done = false;
  order = { by: "name", down: false };
  filter = "";
  #names = new Map();
  /** Bytes of lists of entries that were counted. */
  #sizes = new WeakMap();
  /** Names that were changed here while the directory was read: what was read of them is older. */
  #newer = new Set();

  /** Ordered and filtered like another, if one is given. */
  constructor(where, like) {
    this.where = where;
    if (like) Object.assign(this, { order: like.order, filter: like.filter });
  }

  /** Reads the directory; `changed` is told now and then. */
  async load(changed, signal) {
    let waiting = [];
    let last = performance.now();
    let ended = false;
    const take = () => {
      this.#add(waiting.filter((entry) => !this.#newer.has(entry.name)));
      waiting = [];
    };
    const tell = () => {
      take();
      changed();
      last = performance.now();
    };
    await stream("POST", "list", { where: this.where }, (lines) => {
      for (const line of lines) {
        if (line.dir) this.dir = line.dir;
        else if (line.problem) throw Object.assign(new Error(line.problem.detail), line.problem);
        else if (line.end) ended = true;
        else waiting.push(line);
      }
      if (performance.now() - last > TELL) tell();
      else if (waiting.length > ENOUGH) take();
    }, signal);
    this.done = ended;
    tell();
    if (!ended) throw new Error("The list broke off.");
    this.#newer.clear();
  }

  /** New entries are ordered among themselves and merged: to order all of them each time would be felt. */
  #add(entries) {
    for (const entry of entries) {
      entry.key = sortKey(entry.name);
      entry.low = entry.name.toLowerCase();
      this.#names.set(entry.name, entry);
    }
    const before = this.#before();
    const merged = [];
    let at = 0;
    for (const entry of entries.sort(before)) {
      const to = place(this.entries, entry, before, at);
      while (at < to) merged.push(this.entries[at++]);
      merged.push(entry);
    }
    while (at < this.entries.length) merged.push(this.entries[at++]);
    this.entries = merged;
    this.#sift();
  }

  #before() {
    const by = ORDERS[this.order.by];
    const sign = this.order.down ? -1 : 1;
    return (a, b) => rank(a) - rank(b) || sign * by(a, b) || ORDERS.name(a, b);
  }

  #arrange() {
    this.entries = this.entries.toSorted(this.#before());
    this.#sift();
  }

  #sift() {
    const wanted = this.filter.toLowerCase();
    this.shown = wanted === "" ? this.entries : this.entries.filter((entry) => entry.low.includes(wanted));
  }

  /** Orders by a column; the same column again turns it round. */
  sortBy(by) {
    this.order = { by, down: this.order.by === by ? !this.order.down : by !== "name" };
    this.#arrange();
  }

  /** Shows only names with this text: at once where there are few, else in slices. Gives whether it does; another text may have come meanwhile. */
  async setFilter(text) {
    this.filter = text;
    const [wanted, { entries }, shown] = [text.toLowerCase(), this, []];
    let begun = performance.now();
    let size = 0;
    for (let at = 0; wanted !== "" && at < entries.length; at += LINES) {
      for (const entry of entries.slice(at, at + LINES)) {
        if (!entry.low.includes(wanted)) continue;
        shown.push(entry);
        size += entry.size ?? 0;
      }
      if (performance.now() - begun <= SLICE) continue;
      await breathe();
      if (this.filter !== text) return false;
      // Whoever changed the entries has sifted them by this text.
      if (this.entries !== entries) return true;
      begun = performance.now();
    }
    this.shown = wanted === "" ? entries : shown;
    if (wanted !== "") this.#sizes.set(shown, size);
    return true;
  }

  /** Bytes of what is shown. */
  get size() {
    const { shown } = this;
    if (!this.#sizes.has(shown)) this.#sizes.set(shown, shown.reduce((sum, entry) => sum + (entry.size ?? 0), 0));
    return this.#sizes.get(shown);
  }

  /** Whether there is an entry of this name. */
  has(name) {
    return this.#names.has(name);
  }

  /** The entry of this name. */
  named(name) {
    return this.#names.get(name);
  }

  /** Puts entries in, in place of others of their names. */
  put(entries) {
    this.remove(entries.map((entry) => entry.name));
    this.#add([...entries]);
  }

  /** Takes entries out. */
  remove(names) {
    if (!this.done) for (const name of names) this.#newer.add(name);
    const gone = new Set(names.filter((name) => this.has(name)));
    if (gone.size === 0) return;
    this.entries = this.entries.filter((entry) => !gone.has(entry.name));
    for (const name of gone) this.#names.delete(name);
    this.#sift();
  }
}

/** Where an entry belongs among others that are in order, at `low` or behind: after those that are like it. */
function place(entries, entry, before, low) {
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(entries[middle], entry) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
