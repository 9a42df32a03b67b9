// Files and folders dropped onto a page.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { fromDrop } from "./upload/drop.js";
import { toast, complain } from "./toast.js";

/** Lets files be dropped anywhere on the page while the folder is shown. */
export function acceptDrops(area, folder, queue, signal) {
  const veil = h("div", { class: "veil", hidden: true }, h("div", null, icon("upload"), h("p", null, `Drop to upload to “${folder.title}”`), folder.foreign && h("p", null, "This folder is none of yours: others can read what is in it.")));
  area.append(veil);
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (shown) => { veil.hidden = !shown; };
  const on = (name, listener) => addEventListener(name, listener, { signal });
  on("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    show(folder.listing.dir?.writable);
  });
  on("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth -= 1;
    if (depth <= 0) show(false);
  });
  on("dragover", (event) => hasFiles(event) && event.preventDefault());
  on("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    show(false);
    if (!folder.listing.dir?.writable) {
      toast("This folder can only be read.", { bad: true });
      return;
    }
    try {
      queue.add(await fromDrop(event.dataTransfer), folder.where, folder.foreign);
    } catch (error) {
      complain(error);
    }
  });
}
