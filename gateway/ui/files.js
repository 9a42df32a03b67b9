// The page of a folder: where it is, what can be done, its entries.

import { h, put, refill } from "./dom.js";
import { icon } from "./icons.js";
import { announce, onChange } from "./changes.js";
import { get, post } from "./api.js";
import * as session from "./session.js";
import { Listing } from "./listing.js";
import { Selection } from "./selection.js";
import { List } from "./list.js";
import { crumbs, foreignPlace, nameOfRoot } from "./crumbs.js";
import { toolbar } from "./toolbar.js";
import { single } from "./single.js";
import { acceptDrops } from "./dropzone.js";
import { acceptMoves } from "./dragging.js";
import { keys } from "./keys.js";
import { deeds } from "./deeds.js";
import { entitle, format, go } from "./router.js";
import { complain } from "./toast.js";

/** The cap of a root: of an alias, or of a handle. */
async function capOfRoot(root, signal) {
  if (root.startsWith("~")) {
    const cap = session.capOf(root.slice(1));
    if (cap === null) throw new Error("This tab has forgotten that cap. Open it again on the first page.");
    return cap;
  }
  const { aliases } = await get("aliases", signal);
  const alias = aliases.find((one) => one.name === root);
  if (!alias) throw new Error(`There is no top folder “${root}” here.`);
  return alias.cap;
}

/** Draws the folder at `path` below `root`, until `signal`. */
export async function files(main, { root, path }, queue, signal) {
  const title = path.at(-1) ?? nameOfRoot(root);
  entitle(title);
  const notice = h("div", { class: "notice" });
  const foot = h("p", { class: "foot quiet" });
  const doubt = h("div", { class: "doubt", role: "status" });
  put(main, h("div", { class: "files" }, crumbs(root, path), h("p", { class: "quiet loading" }, "Opening…")));
  let cap;
  try {
    cap = await capOfRoot(root, signal);
    if (signal.aborted) return;
  } catch (error) {
    if (signal.aborted) return;
    if (error.status === 401) go("#/");
    else put(main, h("div", { class: "files" }, crumbs(root, path), h("p", { class: "wrong" }, icon("warn"), error.message)));
    return;
  }
  const folder = { where: { cap, path }, root, title, foreign: foreignPlace(root, path), listing: new Listing({ cap, path }) };
  const selection = new Selection(() => {
    list.refresh();
    bar.refresh();
  });
  folder.up = () => path.length > 0 && go(format(root, path.slice(0, -1)));
  const can = deeds(folder, selection);
  const list = new List({ open: can.open, menu: can.menu, keys: keys(folder, selection, can, () => list), sort: () => list.refresh() });
  const bar = toolbar(folder, selection, can, queue, () => { list.show(folder.listing, selection); said(); });

  function said() {
    put(foot, list.summary());
    const isSure = folder.listing.dir?.confirmed !== false;
    refill(doubt, String(isSure), () => !isSure && [icon("warn"), h("span", null, h("b", null, "This may be old. "), "Too few servers answered to be sure: it is the newest that they have."),
      h("button", { type: "button", onclick: load }, icon("retry"), "Look again")]);
    const none = folder.listing.done && folder.listing.shown.length === 0;
    put(notice, none && empty(folder));
  }

  function select(name, choose) {
    const { shown } = folder.listing;
    const index = shown.findIndex((entry) => entry.name === name);
    selection.put(shown, index);
    if (choose && index >= 0) selection.only(shown, index);
    else selection.changed();
    list.reveal(index);
  }

  function hear({ put: added = [], removed = [], reload = false, select: name, choose = true }) {
    if (reload) {
      load();
      return;
    }
    folder.listing.remove(removed);
    folder.listing.put(added);
    for (const one of removed) if (!folder.listing.has(one)) selection.names.delete(one);
    if (removed.length > 0) selection.settle(folder.listing.shown);
    if (name !== undefined) select(name, choose);
    else selection.changed();
    said();
  }

  let reading = new AbortController();
  async function load() {
    reading.abort();
    reading = new AbortController();
    const listing = new Listing(folder.where, folder.listing);
    folder.listing = listing;
    list.show(listing, selection);
    try {
      await listing.load(() => { list.refresh(); bar.refresh(); said(); }, AbortSignal.any([signal, reading.signal]));
      selection.retain((name) => listing.has(name));
      selection.settle(listing.shown);
      selection.changed();
    } catch (error) {
      if (error.name === "AbortError") return;
      await failed(error);
    }
  }

  async function failed(error) {
    const entry = await post("stat", { where: folder.where }, signal).catch(() => null);
    if (signal.aborted) return;
    if (entry && entry.kind !== "dir") put(main, h("div", { class: "files" }, crumbs(root, path, true), single(folder, { ...entry, name: entry.name || title })));
    else {
      complain(error);
      put(notice, h("p", { class: "wrong" }, icon("warn"), error.message, " ", error.hint ?? ""),
        h("button", { type: "button", onclick: () => { put(notice); load(); } }, icon("retry"), "Try again"));
    }
  }

  const area = h("div", { class: "files" }, crumbs(root, path), bar.element, doubt, list.grid, notice, foot);
  put(main, area);
  acceptDrops(area, folder, queue, signal);
  acceptMoves(area, folder, can, signal);
  follow(queue, signal);
  onChange(folder.where, hear, signal);
  await load();
  if (!signal.aborted && !document.querySelector("dialog[open]")) list.grid.focus({ preventScroll: true });
}

function empty(folder) {
  if (folder.listing.filter !== "") return h("div", { class: "nothing" }, icon("search"), h("p", null, "No name here has this in it. Press Enter to search the folders below."));
  return h("div", { class: "nothing" }, icon("upload"),
    h("p", null, folder.listing.dir?.writable ? "Nothing in here yet. Drop files or folders here, or use Upload." : "Nothing in here."));
}

/** Uploads into this folder show in it at once. */
function follow(queue, signal) {
  queue.addEventListener("stored", ({ detail: { item, entry } }) => {
    if (item.path.length === 0) announce(item.where, entry ? { put: [entry] } : { reload: true });
  }, { signal });
  queue.addEventListener("folder", ({ detail: { where, entry } }) => announce(where, { put: [entry] }), { signal });
}
