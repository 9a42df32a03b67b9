// Everything that can be done in a folder, with the menu that offers it.

import * as actions from "./actions.js";
import { menu } from "./dialogs.js";
import { share } from "./share.js";
import { shareMap } from "./sharemap.js";
import { health } from "./health.js";
import { search } from "./search.js";
import { preview } from "./preview.js";
import { format, go } from "./router.js";

/** The deeds of a folder. Those that change something are there only where that is allowed. */
export function deeds(folder, selection) {
  const whereOf = (entry) => actions.whereOf(folder, entry);
  const isWritable = () => folder.listing.dir?.writable === true;
  const look = (entries, entry, at = folder) => preview(entries, entry, {
    whereOf: (one) => actions.whereOf(at, one),
    download: (one) => actions.download(at, [one]),
    share: (one) => share(actions.whereOf(at, one), one.name),
    map: (one) => shareMap(one.cap, one.name),
  });
  const can = {
    isWritable,
    open: (entry) => (entry.kind === "dir" ? go(format(folder.root, [...folder.where.path, entry.name])) : look(folder.listing.shown, entry)),
    newFolder: () => isWritable() && actions.newFolder(folder),
    download: (entries) => actions.download(folder, entries),
    rename: (entries) => isWritable() && entries.length === 1 && actions.rename(folder, entries[0]),
    move: (entries) => isWritable() && actions.move(folder, entries),
    copy: (entries) => actions.copy(folder, entries),
    remove: (entries) => isWritable() && actions.remove(folder, entries),
    share: (entries) => share(whereOf(entries[0]), entries[0].name),
    map: (entries) => shareMap(entries[0].cap, entries[0].name),
    health: (entries) => health(whereOf(entries[0]), entries[0].name, entries[0].kind === "dir"),
    shareThis: () => share(folder.where, folder.title),
    mapThis: () => folder.listing.dir && shareMap(folder.listing.dir.cap, folder.title),
    healthThis: () => health(folder.where, folder.title, true),
    downloadThis: () => actions.downloadAll(folder),
    search: (query) => search(folder, query, (path, entry) => {
      const at = { where: { cap: folder.where.cap, path: path.slice(0, -1) } };
      look([entry], entry, at);
    }),
  };
  can.menu = (entries, anchor, at) => menu(anchor, items(can, entries), at);
  can.menuThis = (anchor) => menu(anchor, [
    { label: "Share this folder", icon: "share", run: can.shareThis },
    { label: "Download as zip", icon: "download", run: can.downloadThis },
    null,
    { label: "Check and repair", icon: "health", run: can.healthThis },
    { label: "Where it is", icon: "map", run: can.mapThis },
  ]);
  can.chosen = () => selection.of(folder.listing.shown);
  return can;
}

function items(can, entries) {
  const one = entries.length === 1 ? entries[0] : null;
  const list = [
    one && { label: one.kind === "dir" ? "Open" : "Preview", icon: one.kind === "dir" ? "folder" : "eye", run: () => can.open(one) },
    { label: one && one.kind !== "dir" ? "Download" : "Download as zip", icon: "download", run: () => can.download(entries) },
    one && { label: "Share", icon: "share", run: () => can.share(entries) },
    null,
    can.isWritable() && one && { label: "Rename", icon: "rename", run: () => can.rename(entries) },
    can.isWritable() && { label: "Move", icon: "move", run: () => can.move(entries) },
    { label: "Copy", icon: "copy", run: () => can.copy(entries) },
    one && null,
    one && { label: "Check and repair", icon: "health", run: () => can.health(entries) },
    one && { label: "Where it is", icon: "map", run: () => can.map(entries) },
    can.isWritable() && null,
    can.isWritable() && { label: "Delete", icon: "trash", danger: true, run: () => can.remove(entries) },
  ];
  // `null` is a line between; what does not apply is false or was null for want of a single entry.
  return list.filter((item, i) => item || (item === null && list.slice(0, i).some(Boolean) && list[i - 1]));
}
