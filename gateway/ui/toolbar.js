// The bar over the list: what can be done here, or with what is chosen; and the search field.

import { h, refill } from "./dom.js";
import { icon } from "./icons.js";
import { menu, OPENS_MENU } from "./dialogs.js";
import { fromInput } from "./upload/drop.js";

/** Makes the bar. `resifted` is called when the filter changed. */
export function toolbar(folder, selection, can, queue, resifted) {
  const left = h("div", { class: "bar-left" });
  const field = h("input", { type: "search", placeholder: "Search", "aria-label": "Search by name: filters as you type, Enter looks below too", id: "search", autocomplete: "off" });
  field.addEventListener("input", async () => {
    selection.put([], -1);
    if (await folder.listing.setFilter(field.value)) resifted();
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && field.value.trim() !== "") {
      // Or else the same key would press what gets the focus in the dialogue.
      event.preventDefault();
      can.search(field.value.trim());
    }
    if (event.key === "Escape") {
      field.value = "";
      field.dispatchEvent(new Event("input"));
      document.getElementById("list")?.focus();
    }
  });
  const files = chooser(false, folder, queue);
  const folders = chooser(true, folder, queue);
  const upload = (event) => menu(event.currentTarget, [
    { label: "Upload files", icon: "file", run: () => files.click() },
    { label: "Upload a folder", icon: "folder", run: () => folders.click() },
  ]);
  const button = (label, picture, run, look = "", more) => h("button", { type: "button", class: look, title: label, "aria-label": label, onclick: run, ...more }, icon(picture), h("span", null, label));
  const more = (label, run) => h("button", { type: "button", class: "plain", "aria-label": label, title: label, onclick: (event) => run(event.currentTarget), ...OPENS_MENU }, icon("more"));
  const forAll = () => [
    can.isWritable() && button("Upload", "upload", upload, "primary", OPENS_MENU),
    can.isWritable() && button("New folder", "plus", can.newFolder),
    button("Share", "share", can.shareThis),
    folder.listing.dir && !can.isWritable() && h("span", { class: "badge" }, "read only"),
    more("More for this folder", can.menuThis),
  ];
  const forChosen = (chosen) => [
    h("button", { type: "button", class: "plain", "aria-label": "Choose none", title: "Choose none", onclick: () => selection.clear() }, icon("close")),
    h("b", { class: "count", "aria-live": "polite" }, `${chosen.length.toLocaleString()} chosen`),
    button("Download", "download", () => can.download(can.chosen())),
    chosen.length === 1 && button("Share", "share", () => can.share(can.chosen())),
    can.isWritable() && button("Move", "move", () => can.move(can.chosen())),
    can.isWritable() && button("Delete", "trash", () => can.remove(can.chosen()), "danger-text"),
    more("More for what is chosen", (anchor) => can.menu(can.chosen(), anchor)),
  ];
  const refresh = () => {
    const chosen = can.chosen();
    element.classList.toggle("choosing", chosen.length > 0);
    const one = chosen.length === 1 ? chosen[0].name : "";
    refill(left, `${chosen.length} ${Boolean(folder.listing.dir)} ${can.isWritable()} ${one}`, () => (chosen.length > 0 ? forChosen(chosen) : forAll()));
  };
  const element = h("div", { class: "toolbar", role: "toolbar", "aria-label": "Actions" }, left, h("div", { class: "search-field" }, icon("search"), field), files, folders);
  return { element, refresh };
}

function chooser(whole, folder, queue) {
  const input = h("input", { type: "file", multiple: true, hidden: true, id: whole ? "pick-folder" : "pick-files", webkitdirectory: whole });
  input.addEventListener("change", () => {
    queue.add(fromInput(input.files), folder.where, folder.foreign);
    input.value = "";
  });
  return input;
}
