// The page of a folder: where it is, what can be done, its entries.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { get, post } from "./api.js";
import * as session from "./session.js";
import { Listing } from "./listing.js";
import { Selection } from "./selection.js";
import { List } from "./list.js";
import { crumbs, nameOfRoot } from "./crumbs.js";
import { toolbar } from "./toolbar.js";
import { single } from "./single.js";
import { acceptDrops } from "./dropzone.js";
import { keys } from "./keys.js";
import { deeds } from "./deeds.js";
import { format, go } from "./router.js";
import { complain } from "./toast.js";

/** The cap of a root: of an alias, or of a handle. */
async function capOfRoot(root) {
  if (root.startsWith("~")) {
    const cap = session.capOf(root.slice(1));
    if (cap === null) throw new Error("This tab has forgotten that cap. Open it again on the first page.");
    return cap;
  }
  const { aliases } = await get("aliases");
  const alias = aliases.find((one) => one.name === root);
  if (!alias) throw new Error(`There is no top folder “${root}” here.`);
  return alias.cap;
}

/** Draws the folder at `path` below `root`, until `signal`. */
export async function files(main, { root, path }, queue, signal) {
  const title = path.at(-1) ?? nameOfRoot(root);
  document.title = `${title} · Sarsen`;
  const notice = h("div", { class: "notice" });
  const foot = h("p", { class: "foot quiet" });
  put(main, h("div", { class: "files" }, crumbs(root, path), h("p", { class: "quiet loading" }, "Opening…")));
  let cap;
  try {
    cap = await capOfRoot(root);
  } catch (error) {
    if (error.status === 401) go("#/");
    else put(main, h("div", { class: "files" }, crumbs(root, path), h("p", { class: "wrong" }, icon("warn"), error.message)));
    return;
  }
  const folder = { where: { cap, path }, root, title, listing: new Listing({ cap, path }) };
  const selection = new Selection(() => {
    list.refresh();
    bar.refresh();
  });
  folder.changed = (name, choose = true) => {
    selection.retain((one) => folder.listing.has(one));
    if (name !== undefined) select(name, choose);
    else selection.changed();
    said();
  };
  folder.reload = () => load();
  folder.up = () => path.length > 0 && go(format(root, path.slice(0, -1)));
  const can = deeds(folder, selection);
  const list = new List({ open: can.open, menu: can.menu, keys: keys(folder, selection, can, () => list), sort: () => { selection.cursor = -1; list.refresh(); } });
  const bar = toolbar(folder, selection, can, queue, () => { list.show(folder.listing, selection); said(); });

  function said() {
    put(foot, list.summary());
    const none = folder.listing.done && folder.listing.shown.length === 0;
    put(notice, none && empty(folder));
  }

  function select(name, choose) {
    const index = folder.listing.shown.findIndex((entry) => entry.name === name);
    selection.cursor = index;
    if (choose && index >= 0) selection.only(folder.listing.shown, index);
    else selection.changed();
    list.reveal(index);
  }

  async function load() {
    folder.listing = new Listing(folder.where);
    list.show(folder.listing, selection);
    try {
      await folder.listing.load(() => { list.refresh(); bar.refresh(); said(); }, signal);
      selection.retain((name) => folder.listing.has(name));
    } catch (error) {
      if (error.name === "AbortError") return;
      await failed(error);
    }
  }

  async function failed(error) {
    const entry = await post("stat", { where: folder.where }, signal).catch(() => null);
    if (signal.aborted) return;
    if (entry && entry.kind !== "dir") put(main, h("div", { class: "files" }, crumbs(root, path), single(folder, { ...entry, name: entry.name || title })));
    else {
      complain(error);
      put(notice, h("p", { class: "wrong" }, icon("warn"), error.message, " ", error.hint ?? ""),
        h("button", { type: "button", onclick: () => { put(notice); load(); } }, icon("retry"), "Try again"));
    }
  }

  const area = h("div", { class: "files" }, crumbs(root, path), bar.element, list.grid, notice, foot);
  put(main, area);
  acceptDrops(area, folder, queue, signal);
  follow(queue, folder, signal);
  await load();
  if (!document.querySelector("dialog[open]")) list.grid.focus({ preventScroll: true });
}

function empty(folder) {
  if (folder.listing.filter !== "") return h("div", { class: "nothing" }, icon("search"), h("p", null, "No name here has this in it. Press Enter to search the folders below."));
  return h("div", { class: "nothing" }, icon("upload"),
    h("p", null, folder.listing.dir?.writable ? "Nothing in here yet. Drop files or folders here, or use Upload." : "Nothing in here."));
}

/** Uploads into this folder show in it at once. */
function follow(queue, folder, signal) {
  const isHere = (where) => where.cap === folder.where.cap && where.path.join("/") === folder.where.path.join("/");
  queue.addEventListener("stored", ({ detail: { item, entry } }) => {
    if (!isHere(item.where) || !folder.listing.done || item.path.length > 0) return;
    if (entry) folder.listing.set(entry);
    else folder.reload();
    folder.changed();
  }, { signal });
  queue.addEventListener("folder", ({ detail: { where, entry } }) => {
    if (!isHere(where) || !folder.listing.done || folder.listing.has(entry.name)) return;
    folder.listing.set(entry);
    folder.changed();
  }, { signal });
}
