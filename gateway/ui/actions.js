// What can be done to entries of a folder. `folder` is {where, root, title, listing, changed()}.

import { post } from "./api.js";
import { askText, confirm } from "./dialogs.js";
import { many } from "./format.js";
import { nameOfRoot } from "./crumbs.js";
import { pickFolder } from "./picker.js";
import { toast, attempt } from "./toast.js";

const names = (entries) => entries.map((entry) => entry.name);
const called = (entries) => (entries.length === 1 ? `“${entries[0].name}”` : many(entries.length, "entry", "entries"));

/** Asks for a name and makes a folder. */
export function newFolder(folder) {
  return askText("New folder", { label: "Create", name: "Name", go: async (name) => {
    const entry = await post("mkdir", { where: folder.where, name });
    folder.listing.set(entry);
    folder.changed(entry.name, false);
  } });
}

/** Asks for another name. */
export function rename(folder, entry) {
  const dot = entry.kind === "dir" ? -1 : entry.name.lastIndexOf(".");
  return askText("Rename", { label: "Rename", name: "New name", value: entry.name, select: dot > 0 ? dot : entry.name.length, go: async (name) => {
    if (name === entry.name) return;
    if (folder.listing.has(name)) throw new Error(`There is a “${name}” already.`);
    await post("move", { from: folder.where, names: [entry.name], to: folder.where, rename: name, replace: false });
    folder.listing.remove([entry.name]);
    folder.listing.set({ ...entry, name });
    folder.changed(name);
  } });
}

/** Asks for a folder and moves there. */
export function move(folder, entries) {
  return pickFolder(`Move ${called(entries)}`, { label: "Move here", where: { ...folder.where, title: nameOfRoot(folder.root) }, go: async (to) => {
    if (same(to, folder.where)) throw new Error("That is where it is now.");
    const done = await post("move", { from: folder.where, names: names(entries), to, replace: false });
    folder.listing.remove(done.moved);
    folder.changed();
    if (done.problems) throw new Error(`${done.problems[0].name}: ${done.problems[0].problem.detail}`);
    toast(`Moved ${called(entries)} to ${to.path.at(-1) ?? "the top folder"}.`, { deed: { label: "Undo", run: () => attempt(async () => {
      await post("move", { from: to, names: names(entries), to: folder.where, replace: false });
      folder.reload();
    }) } });
  } });
}

/** Asks for a folder and copies there; into the same folder under another name. */
export function copy(folder, entries) {
  return pickFolder(`Copy ${called(entries)}`, { label: "Copy here", where: { ...folder.where, title: nameOfRoot(folder.root) }, go: async (to) => {
    const here = same(to, folder.where);
    if (here && entries.length > 1) throw new Error("Choose another folder to copy several entries.");
    const done = await post("copy", { from: folder.where, names: names(entries), to, replace: false, ...(here ? { rename: free(folder.listing, entries[0].name) } : {}) });
    if (here) folder.reload();
    if (done.problems) throw new Error(`${done.problems[0].name}: ${done.problems[0].problem.detail}`);
    toast(`Copied ${called(entries)}.${done.detail ? ` Mind: ${done.detail}.` : ""}`);
  } });
}

/** "a.txt" -> "a copy.txt", or with a number. */
function free(listing, name) {
  const dot = name.lastIndexOf(".") > 0 ? name.lastIndexOf(".") : name.length;
  for (let count = 1; ; count += 1) {
    const other = `${name.slice(0, dot)} copy${count > 1 ? ` ${count}` : ""}${name.slice(dot)}`;
    if (!listing.has(other)) return other;
  }
}

const same = (a, b) => a.cap === b.cap && a.path.join("/") === b.path.join("/");

/** Deletes, and offers to undo it. Many at once are asked about first. */
export async function remove(folder, entries) {
  const work = async () => {
    const { undo } = await post("delete", { where: folder.where, names: names(entries) });
    folder.listing.remove(names(entries));
    folder.changed();
    toast(`Deleted ${called(entries)}.`, { lasts: 20000, deed: { label: "Undo", run: () => attempt(async () => {
      const { problems } = await post("undo", { undo });
      if (problems) {
        folder.reload();
        throw new Error(`${problems[0].name}: ${problems[0].problem.detail}`);
      }
      for (const entry of entries) folder.listing.set(entry);
      folder.changed(entries[0].name);
      toast(`${called(entries)} ${entries.length === 1 ? "is" : "are"} back.`);
    }) } });
  };
  if (entries.length <= 20) return attempt(work);
  return confirm("Delete", `Delete ${called(entries)}? It can be undone for some minutes.`, { label: "Delete", danger: true, go: work });
}

/** Where an entry is. */
export function whereOf(folder, entry) {
  return { cap: folder.where.cap, path: [...folder.where.path, entry.name] };
}

/** Downloads a file, or several entries as one archive. */
export function download(folder, entries) {
  return attempt(async () => {
    const one = entries.length === 1 && entries[0].kind !== "dir" ? entries[0] : null;
    const ticket = one
      ? await post("tickets", { where: whereOf(folder, one), as: "download" })
      : await post("tickets", { where: folder.where, as: "zip", names: names(entries) });
    const link = document.createElement("a");
    link.href = ticket.url;
    link.download = "";
    link.click();
  });
}
