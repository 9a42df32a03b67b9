// Which entries are chosen, and where the cursor is. By name: entries move while others come and go.

export class Selection {
  names = new Set();
  #cursor = null;
  #anchor = null;
  /** Where the cursor was when it was last looked up. */
  #at = -1;

  constructor(changed) {
    this.changed = changed;
  }

  /** The entries chosen out of those shown. */
  of(shown) {
    return this.names.size === 0 ? [] : shown.filter((entry) => this.names.has(entry.name));
  }

  /** The index of the cursor in what is shown, or -1. */
  at(shown) {
    if (this.#cursor === null) return -1;
    if (shown[this.#at]?.name === this.#cursor) return this.#at;
    const index = find(shown, this.#cursor);
    if (index >= 0) this.#at = index;
    return index;
  }

  /** Puts the cursor on the entry of this index, or nowhere, and chooses nothing. */
  put(shown, index) {
    this.#cursor = shown[index]?.name ?? null;
    this.#at = index;
  }

  /** Entries went: if the cursor's did, it goes to what came into its place. */
  settle(shown) {
    if (this.#cursor !== null && this.at(shown) < 0) this.put(shown, Math.min(this.#at, shown.length - 1));
  }

  clear() {
    this.names.clear();
    this.#anchor = null;
    this.changed();
  }

  all(shown) {
    this.names = new Set(shown.map((entry) => entry.name));
    this.changed();
  }

  /** Whether all that is shown is chosen. */
  isAll(shown) {
    return shown.length > 0 && this.names.size >= shown.length && shown.every((entry) => this.names.has(entry.name));
  }

  /** Only this one. */
  only(shown, index) {
    this.names = new Set([shown[index].name]);
    this.put(shown, index);
    this.#anchor = this.#cursor;
    this.changed();
  }

  /** This one too, or no more. */
  toggle(shown, index) {
    const { name } = shown[index];
    if (!this.names.delete(name)) this.names.add(name);
    this.put(shown, index);
    this.#anchor = name;
    this.changed();
  }

  /** All from where the last choice was made to here. */
  upTo(shown, index) {
    const from = Math.max(0, this.#anchor === null ? 0 : find(shown, this.#anchor));
    const [low, high] = from < index ? [from, index] : [index, from];
    this.names = new Set(shown.slice(low, high + 1).map((entry) => entry.name));
    this.#anchor = shown[from].name;
    this.put(shown, index);
    this.changed();
  }

  /** Moves the cursor; `extend` chooses all on the way, `keep` chooses nothing. */
  move(shown, index, { extend, keep }) {
    if (shown.length === 0) return;
    const to = Math.max(0, Math.min(index, shown.length - 1));
    if (extend) this.upTo(shown, to);
    else if (keep) {
      this.put(shown, to);
      this.changed();
    } else this.only(shown, to);
  }

  /** Forgets names that are gone. */
  retain(has) {
    for (const name of this.names) if (!has(name)) this.names.delete(name);
  }
}

function find(shown, name) {
  return shown.findIndex((entry) => entry.name === name);
}
