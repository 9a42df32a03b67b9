// What was dropped or chosen, as a flat list: {file, path}, where `path` is the folders on the way; and folders with nothing in them.

/** Reads the entries of a drop. They must be asked for at once, as the browser forgets them after the event. */
export function fromDrop(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return flatten(entries.filter(Boolean));
}

/** What an <input type=file> holds, with webkitdirectory or without. */
export function fromInput(files) {
  const found = [...files].map((file) => ({ file, path: (file.webkitRelativePath || file.name).split("/").slice(0, -1) }));
  return { files: found, folders: [] };
}

async function flatten(entries) {
  const out = { files: [], folders: [] };
  const todo = entries.map((entry) => ({ entry, path: [] }));
  while (todo.length > 0) {
    const { entry, path } = todo.pop();
    if (entry instanceof File) out.files.push({ file: entry, path });
    else if (entry.isFile) out.files.push({ file: await new Promise((yes, no) => entry.file(yes, no)), path });
    else {
      const inner = [...path, entry.name];
      const children = await all(entry.createReader());
      if (children.length === 0) out.folders.push(inner);
      for (const child of children) todo.push({ entry: child, path: inner });
    }
  }
  out.files.sort((a, b) => compare([...a.path, a.file.name].join("/"), [...b.path, b.file.name].join("/")));
  return out;
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A reader gives some hundred entries at a time, until it gives none. */
async function all(reader) {
  const out = [];
  for (;;) {
    const some = await new Promise((yes, no) => reader.readEntries(yes, no));
    if (some.length === 0) return out;
    out.push(...some);
  }
}
