// Which entries are chosen, and where the cursor is. Pure, by index into what is shown.

export class Selection {
  names = new Set();
  cursor = -1;
  #anchor = -1;

  constructor(changed) {
    this.changed = changed;
  }

  /** The entries chosen out of those shown. */
  of(shown) {
    return shown.filter((entry) => this.names.has(entry.name));
  }

  clear() {
    this.names.clear();
    this.#anchor = -1;
    this.changed();
  }

  all(shown) {
    this.names = new Set(shown.map((entry) => entry.name));
    this.changed();
  }

  /** Only this one. */
  only(shown, index) {
    this.names = new Set([shown[index].name]);
    this.cursor = index;
    this.#anchor = index;
    this.changed();
  }

  /** This one too, or no more. */
  toggle(shown, index) {
    const { name } = shown[index];
    if (!this.names.delete(name)) this.names.add(name);
    this.cursor = index;
    this.#anchor = index;
    this.changed();
  }

  /** All from where the last choice was made to here. */
  upTo(shown, index) {
    const from = this.#anchor < 0 ? 0 : Math.min(this.#anchor, shown.length - 1);
    const [low, high] = from < index ? [from, index] : [index, from];
    this.names = new Set(shown.slice(low, high + 1).map((entry) => entry.name));
    this.#anchor = from;
    this.cursor = index;
    this.changed();
  }

  /** Moves the cursor; `extend` chooses all on the way, `keep` chooses nothing. */
  move(shown, index, { extend, keep }) {
    if (shown.length === 0) return;
    const to = Math.max(0, Math.min(index, shown.length - 1));
    if (extend) this.upTo(shown, to);
    else if (keep) {
      this.cursor = to;
      this.changed();
    } else this.only(shown, to);
  }

  /** Forgets names that are gone. */
  retain(has) {
    for (const name of this.names) if (!has(name)) this.names.delete(name);
  }
}
