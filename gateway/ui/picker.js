// Choosing a folder to move or copy to.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { get, post } from "./api.js";
import { ask } from "./dialogs.js";
import { Listing } from "./listing.js";
import { announce } from "./changes.js";
import { complain } from "./toast.js";

const SHOWN = 500;

/** Asks for a folder, beginning at `where`; `go(where)` is the deed. */
export function pickFolder(title, { label, where, go }) {
  const list = h("ul", { class: "picker", "aria-label": "Folders" });
  const here = h("p", { class: "picker-here", "aria-live": "polite" });
  let chosen = where;
  let aliases = [];
  let reading = new AbortController();

  async function show(next) {
    chosen = next;
    reading.abort();
    reading = new AbortController();
    const listing = new Listing({ cap: next.cap, path: next.path });
    put(here, icon("folder"), " ", [next.title, ...next.path].join(" / "));
    put(list, h("li", { class: "quiet" }, "Reading…"));
    try {
      await listing.load(() => {}, reading.signal);
    } catch (error) {
      complain(error);
    }
    if (chosen !== next) return;
    const folders = listing.entries.filter((entry) => entry.kind === "dir");
    put(list,
      step(next.path.length > 0 ? ".." : "All folders", "up", () => (next.path.length > 0 ? show({ ...next, path: next.path.slice(0, -1) }) : roots())),
      folders.slice(0, SHOWN).map((entry) => step(entry.name, "folder", () => show({ ...next, path: [...next.path, entry.name] }))),
      folders.length > SHOWN && h("li", { class: "quiet" }, `and ${folders.length - SHOWN} more`));
    list.querySelector("button")?.focus();
  }

  async function roots() {
    chosen = null;
    reading.abort();
    put(here, "All folders");
    aliases = aliases.length > 0 ? aliases : (await get("aliases").catch(() => ({ aliases: [] }))).aliases;
    if (chosen !== null) return;
    put(list, aliases.filter((alias) => alias.writable).map((alias) => step(alias.name, "folder", () => show({ cap: alias.cap, path: [], title: alias.name }))));
  }

  const step = (name, picture, run) => h("li", null, h("button", { type: "button", onclick: run }, icon(picture), h("bdi", null, name)));
  show(where);
  const name = h("input", { type: "text", placeholder: "New folder here", "aria-label": "Name of a new folder", maxlength: 255 });
  const make = h("button", { type: "button", onclick: async () => {
    const parent = chosen;
    if (!parent || name.value === "") return;
    try {
      const entry = await post("mkdir", { where: { cap: parent.cap, path: parent.path }, name: name.value });
      announce(parent, { put: [entry] });
      name.value = "";
      if (chosen === parent) show({ ...parent, path: [...parent.path, entry.name] });
    } catch (error) {
      complain(error);
    }
  } }, "Create");
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    // Or else it would send the form, and with it do the deed.
    event.preventDefault();
    make.click();
  });
  return ask(title, [here, list, h("div", { class: "inline" }, name, make)], {
    label,
    onclose: () => reading.abort(),
    go: () => {
      if (chosen === null) throw new Error("Choose a folder first.");
      return go({ cap: chosen.cap, path: chosen.path });
    },
  });
}
