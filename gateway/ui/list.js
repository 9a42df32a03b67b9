// The list of entries. Only the rows in view exist, so that 100,000 entries cost as much as 30.

import { h, put, refill } from "./dom.js";
import { icon } from "./icons.js";
import { OPENS_MENU } from "./dialogs.js";
import { bytes, day, moment, many } from "./format.js";
import { iconOf, wordFor } from "./kinds.js";

const MARGIN = 12;
/** A finger that stays on a row asks for its menu, and does not drag it. */
const CAN_DRAG = !matchMedia("(pointer: coarse)").matches;
const COLUMNS = [["name", "Name"], ["size", "Size"], ["modified", "Modified"]];

export class List {
  /** `on` is told: open(entry), menu(entries, anchor, at), keys, sort(). */
  constructor(on) {
    this.on = on;
    /** What is drawn, by name: {entry, element, state}. */
    this.rows = new Map();
    this.head = h("div", { class: "row head", role: "row", "aria-rowindex": 1 });
    this.body = h("div", { class: "rows", role: "rowgroup" });
    this.grid = h("div", { class: "scroller", role: "grid", tabindex: "0", "aria-multiselectable": "true", "aria-label": "Entries", id: "list" },
      h("div", { role: "rowgroup", class: "head-group" }, this.head), this.body);
    this.grid.addEventListener("scroll", () => this.#draw(), { passive: true });
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
    this.body.addEventListener("dblclick", (event) => this.#doubleClick(event));
    this.body.addEventListener("contextmenu", (event) => this.#context(event));
    new ResizeObserver(() => this.refresh()).observe(this.grid);
  }

  /** Shows a listing, with its selection. */
  show(listing, selection) {
    this.listing = listing;
    this.selection = selection;
    this.grid.scrollTop = 0;
    this.refresh();
  }

  /** Entries, order or selection changed. A row whose entry did not stays the element it is, or else a press on it would be lost. */
  refresh() {
    if (!this.listing) return;
    this.height = matchMedia("(max-width: 640px)").matches ? 60 : 44;
    this.#drawHead();
    this.body.style.height = `${this.listing.shown.length * this.height}px`;
    this.grid.setAttribute("aria-rowcount", this.listing.done ? this.listing.shown.length + 1 : -1);
    this.#draw();
  }

  #drawHead() {
    const { by, down } = this.listing.order;
    const all = this.selection.isAll(this.listing.shown);
    refill(this.head, `${by} ${down} ${all}`, () => this.#headCells(by, down, all));
  }

  #headCells(by, down, all) {
    const columns = COLUMNS.map(([column, title]) => h("div", {
      class: `cell ${column}`, role: "columnheader",
      "aria-sort": by === column ? (down ? "descending" : "ascending") : "none",
    }, h("button", { type: "button", class: "sort", onclick: () => { this.listing.sortBy(column); this.on.sort(); } },
      title, by === column && icon(down ? "down" : "up"))));
    return [
      h("div", { class: "cell tick", role: "columnheader" }, h("button", {
        type: "button", "aria-label": all ? "Choose none" : "Choose all",
        onclick: () => (all ? this.selection.clear() : this.selection.all(this.listing.shown)),
      }, h("span", { class: all ? "box ticked" : "box" }, all && icon("check")))),
      columns,
      h("div", { class: "cell tools", role: "columnheader", "aria-label": "Actions" }),
    ];
  }

  #draw() {
    const { shown } = this.listing;
    const from = Math.max(0, Math.floor(this.grid.scrollTop / this.height) - MARGIN);
    const to = Math.min(shown.length, Math.ceil((this.grid.scrollTop + this.grid.clientHeight) / this.height) + MARGIN);
    const rows = new Map();
    for (const entry of shown.slice(from, to)) {
      const known = this.rows.get(entry.name);
      rows.set(entry.name, known?.entry === entry ? known : { entry, element: this.#row(entry), state: "" });
    }
    for (const [name, row] of this.rows) if (rows.get(name) !== row) row.element.remove();
    this.rows = rows;
    const cursor = this.selection.at(shown);
    let next = this.body.firstElementChild;
    let index = from;
    for (const row of rows.values()) {
      if (row.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(row.element, next);
      this.#place(row, index, index === cursor);
      index += 1;
    }
    if (cursor >= from && cursor < to) this.grid.setAttribute("aria-activedescendant", `row-${cursor}`);
    else this.grid.removeAttribute("aria-activedescendant");
  }

  #row(entry) {
    return h("div", { role: "row", draggable: CAN_DRAG && "true" },
      h("div", { class: "cell tick", role: "gridcell", dataset: { deed: "tick" } }, h("span", { class: "box" })),
      h("div", { class: "cell name", role: "gridcell" },
        h("span", { class: `kind kind-${iconOf(entry)}` }, icon(iconOf(entry))),
        h("bdi", { class: "label", dataset: { deed: "open" }, title: entry.name }, entry.name),
        h("span", { class: "hidden" }, `, ${wordFor(entry)}`),
        entry.kind !== "dir" && entry.kind !== "file" && h("span", { class: "badge" }, badge(entry)),
        h("span", { class: "small" }, [bytes(entry.size), day(entry.modified)].filter(Boolean).join(" · "))),
      h("div", { class: "cell size", role: "gridcell" }, entry.kind === "dir" ? "—" : bytes(entry.size)),
      h("div", { class: "cell modified", role: "gridcell", title: moment(entry.modified) }, day(entry.modified)),
      h("div", { class: "cell tools", role: "gridcell" },
        h("button", { type: "button", class: "plain", tabindex: "-1", "aria-label": `Actions for ${entry.name}`, dataset: { deed: "menu" }, ...OPENS_MENU }, icon("more"))));
  }

  /** Puts a row where it belongs, and shows whether it is chosen. */
  #place(row, index, isCursor) {
    const chosen = this.selection.names.has(row.entry.name);
    const state = `${index} ${this.height} ${chosen} ${isCursor}`;
    if (row.state === state) return;
    row.state = state;
    const { element } = row;
    element.className = `row${chosen ? " chosen" : ""}${isCursor ? " cursor" : ""}`;
    element.id = `row-${index}`;
    element.dataset.index = index;
    element.setAttribute("aria-rowindex", index + 2);
    element.setAttribute("aria-selected", chosen);
    element.style.transform = `translateY(${index * this.height}px)`;
    const box = element.querySelector(".box");
    if (box.classList.toggle("ticked", chosen) !== (box.firstChild !== null)) put(box, chosen && icon("check"));
  }

  #at(event) {
    const row = event.target.closest("[data-index]");
    return row === null ? -1 : Number(row.dataset.index);
  }

  #click(event) {
    const index = this.#at(event);
    if (index < 0) return;
    const { shown } = this.listing;
    const deed = event.target.closest("[data-deed]")?.dataset.deed;
    if (deed === "menu") this.#menu(index, event.target.closest("button"));
    else if (event.shiftKey) this.selection.upTo(shown, index);
    else if (deed === "tick" || event.ctrlKey || event.metaKey) this.selection.toggle(shown, index);
    else if (deed === "open") this.on.open(shown[index]);
    else this.selection.only(shown, index);
  }

  #doubleClick(event) {
    const index = this.#at(event);
    if (index >= 0 && !event.target.closest("[data-deed]")) this.on.open(this.listing.shown[index]);
  }

  #context(event) {
    const index = this.#at(event);
    if (index < 0) return;
    event.preventDefault();
    this.#menu(index, this.grid, { x: event.clientX, y: event.clientY });
  }

  #menu(index, anchor, at) {
    const { shown } = this.listing;
    if (!this.selection.names.has(shown[index].name)) this.selection.only(shown, index);
    this.on.menu(this.selection.of(shown), anchor, at);
  }

  #key(event) {
    if (this.body.contains(event.target)) {
      // The button of a row has the focus after its menu. It knows these keys itself; by the others one goes on from there.
      if (["Enter", " ", "Tab", "Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
      this.grid.focus({ preventScroll: true });
    } else if (event.target !== this.grid) return;
    const { shown } = this.listing;
    const page = Math.max(1, Math.floor(this.grid.clientHeight / this.height) - 2);
    const now = this.selection.at(shown);
    const goTo = { ArrowDown: now + 1, ArrowUp: now - 1, PageDown: now + page, PageUp: now - page, Home: 0, End: shown.length - 1 }[event.key];
    if (goTo !== undefined) {
      this.selection.move(shown, goTo, { extend: event.shiftKey, keep: event.ctrlKey || event.metaKey });
      this.reveal(this.selection.at(shown));
    } else if (event.key === " " && now >= 0 && !this.on.keys.isTyping()) this.selection.toggle(shown, now);
    else if (event.key === "Enter" && now >= 0) this.on.open(shown[now]);
    else if ((event.key === "F10" && event.shiftKey) || event.key === "ContextMenu") { if (now >= 0) this.#menu(now, this.grid, this.#corner(shown[now])); }
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.selection.all(shown);
    else if (!this.on.keys.press(event)) return;
    event.preventDefault();
  }

  #corner(entry) {
    const box = this.rows.get(entry.name)?.element.getBoundingClientRect() ?? this.grid.getBoundingClientRect();
    return { x: box.left + 60, y: box.bottom };
  }

  /** Scrolls so that an entry is in view, and draws it. */
  reveal(index) {
    if (index < 0) return;
    const top = index * this.height;
    const room = this.grid.clientHeight - this.head.offsetHeight - this.height;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top > this.grid.scrollTop + room) this.grid.scrollTop = top - room;
    this.#draw();
  }

  /** What stands under the list. */
  summary() {
    const { entries, shown, done } = this.listing;
    if (!done) return `${many(entries.length, "entry", "entries")} so far`;
    const { size } = this.listing;
    const part = shown.length === entries.length ? "" : ` of ${entries.length.toLocaleString()}`;
    return `${many(shown.length, "entry", "entries")}${part}, ${bytes(size)}`;
  }
}

function badge(entry) {
  if (entry.symlink) return `→ ${entry.symlink}`;
  return entry.kind === "mutable" ? "changeable" : "unknown kind";
}
