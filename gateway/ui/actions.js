// What can be done to entries of a folder. `folder` is {where, root, title, listing}; what changes is announced by place.

import { post } from "./api.js";
import { announce, isSame } from "./changes.js";
import { askText, confirm } from "./dialogs.js";
import { many } from "./format.js";
import { nameOfRoot } from "./crumbs.js";
import { pickFolder } from "./picker.js";
import { pieces, postNames } from "./pieces.js";
import { toast, complain, attempt } from "./toast.js";

const names = (entries) => entries.map((entry) => entry.name);
const among = (entries, done) => {
  const found = new Set(done);
  return entries.filter((entry) => found.has(entry.name));
};
const called = (entries) => (entries.length === 1 ? `“${entries[0].name}”` : many(entries.length, "entry", "entries"));

/** Says what was refused, name by name: the first, and how many more. */
function complainOf(problems) {
  if (problems.length === 0) return;
  const more = problems.length > 1 ? ` So it is with ${many(problems.length - 1, "more entry", "more entries")}.` : "";
  complain(new Error(`${problems[0].name}: ${problems[0].problem.detail}${more}`));
}

/** Asks for a name and makes a folder. */
export function newFolder(folder) {
  return askText("New folder", { label: "Create", name: "Name", go: async (name) => {
    const entry = await post("mkdir", { where: folder.where, name });
    announce(folder.where, { put: [entry], select: entry.name, choose: false });
  } });
}

/** Asks for another name. */
export function rename(folder, entry) {
  const dot = entry.kind === "dir" ? -1 : entry.name.lastIndexOf(".");
  return askText("Rename", { label: "Rename", name: "New name", value: entry.name, select: dot > 0 ? dot : entry.name.length, go: async (name) => {
    if (name === entry.name) return;
    if (folder.listing.has(name)) throw new Error(`There is a “${name}” already.`);
    await post("move", { from: folder.where, names: [entry.name], to: folder.where, rename: name, replace: false });
    announce(folder.where, { removed: [entry.name], put: [{ ...entry, name }], select: name });
  } });
}

/** Asks for a folder and moves there. */
export function move(folder, entries) {
  return pickFolder(`Move ${called(entries)}`, { label: "Move here", where: { ...folder.where, title: nameOfRoot(folder.root) }, go: (to) => moveTo(folder, entries, to) });
}

/** Moves entries to another folder, and offers to undo it. */
export async function moveTo({ where: from }, entries, to) {
  if (isSame(to, from)) throw new Error("That is where it is now.");
  const { done, problems } = await postNames("move", { from, to, replace: false }, "moved", names(entries));
  const moved = among(entries, done);
  announce(from, { removed: done });
  announce(to, { reload: true });
  toast(`Moved ${called(moved)} to ${to.path.length > 0 ? `“${to.path.at(-1)}”` : "the top folder"}.`, { deed: { label: "Undo", run: () => attempt(async () => {
    const back = await postNames("move", { from: to, to: from, replace: false }, "moved", done);
    announce(to, { removed: back.done });
    announce(from, { put: among(moved, back.done) });
    complainOf(back.problems);
  }) } });
  complainOf(problems);
}

/** Asks for a folder and copies there; into the same folder under another name. */
export function copy(folder, entries) {
  const from = folder.where;
  return pickFolder(`Copy ${called(entries)}`, { label: "Copy here", where: { ...from, title: nameOfRoot(folder.root) }, go: async (to) => {
    const here = isSame(to, from);
    if (here && entries.length > 1) throw new Error("Choose another folder to copy several entries.");
    const { done, problems, answers } = await postNames("copy", { from, to, replace: false, ...(here ? { rename: free(folder.listing, entries[0].name) } : {}) }, "copied", names(entries));
    announce(to, { reload: true });
    const detail = answers.find((answer) => answer.detail)?.detail;
    toast(`Copied ${here ? called(entries) : called(among(entries, done))}.${detail ? ` Mind: ${detail}.` : ""}`);
    complainOf(problems);
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

/** Deletes, and offers to undo it. Many at once are asked about first. */
export async function remove({ where }, entries) {
  const work = async () => {
    const { done, problems, answers } = await postNames("delete", { where }, "deleted", names(entries));
    announce(where, { removed: done });
    const gone = among(entries, done);
    offerUndo(where, gone, answers.map((answer) => answer.undo), `Deleted ${called(gone)}.`);
    complainOf(problems);
  };
  if (entries.length <= 20) return attempt(work);
  return confirm("Delete", `Delete ${called(entries)}? It can be undone for some minutes.`, { label: "Delete", danger: true, go: work });
}

/** `undos` is what the gateway called the pieces of a deletion. */
function offerUndo(where, entries, undos, text) {
  const run = async () => {
    const [restored, problems] = [[], []];
    let left = undos;
    try {
      while (left.length > 0) {
        const answer = await post("undo", { undo: left[0] });
        restored.push(...answer.restored);
        problems.push(...(answer.problems ?? []));
        left = left.slice(1);
      }
    } catch (error) {
      complain(error);
      // What is remembered no more is not asked for again; the pieces after it may be.
      if (error.code === "not-found") left = left.slice(1);
      if (left.length > 0) offerUndo(where, entries, left, "Not all is back.");
    }
    const back = among(entries, restored);
    complainOf(problems);
    if (back.length === 0) return;
    announce(where, { put: back, select: back[0].name });
    toast(`${called(back)} ${back.length === 1 ? "is" : "are"} back.`);
  };
  toast(text, { lasts: 20000, deed: { label: "Undo", run } });
}

/** Where an entry is. */
export function whereOf(folder, entry) {
  return { cap: folder.where.cap, path: [...folder.where.path, entry.name] };
}

/** Downloads a file, or several entries as one archive. */
export function download(folder, entries) {
  if (entries.length === 1 && entries[0].kind !== "dir") return downloadFile(whereOf(folder, entries[0]));
  const chosen = names(entries);
  if (pieces(chosen).length <= 1) return save({ where: folder.where, as: "zip", names: chosen });
  if (folder.listing.done && chosen.length === folder.listing.entries.length) return downloadAll(folder);
  return complain(new Error("So many names do not fit into one zip. Choose all of the folder, or at most 10,000 entries of it."));
}

/** Downloads a whole folder, whatever of it is listed yet. */
export function downloadAll({ where }) {
  return save({ where, as: "zip" });
}

/** Downloads the file at a place. */
export function downloadFile(where) {
  return save({ where, as: "download" });
}

function save(asked) {
  return attempt(async () => {
    const { url } = await post("tickets", asked);
    const link = document.createElement("a");
    link.href = url;
    link.download = "";
    link.click();
  });
}
