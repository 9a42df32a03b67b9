// A cap of one file: what it is, and what can be done with it.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { bytes, moment } from "./format.js";
import { iconOf, wordFor } from "./kinds.js";
import { preview } from "./preview.js";
import { share } from "./share.js";
import { shareMap } from "./sharemap.js";
import { health } from "./health.js";
import { downloadFile } from "./actions.js";

/** The page of a file that stands alone. */
export function single({ where }, entry) {
  const download = () => downloadFile(where);
  const button = (label, picture, run, more = "") => h("button", { type: "button", class: more, onclick: run }, icon(picture), label);
  const toMap = () => shareMap(entry.cap, entry.name);
  const toShare = () => share(where, entry.name);
  return h("section", { class: "single tile" },
    h("span", { class: `kind kind-${iconOf(entry)}` }, icon(iconOf(entry))),
    h("h1", { dir: "auto" }, entry.name),
    h("p", { class: "quiet" }, [wordFor(entry), bytes(entry.size), moment(entry.modified)].filter(Boolean).join(" · ")),
    h("div", { class: "buttons left" },
      button("Download", "download", download, "primary"),
      button("Preview", "eye", () => preview([entry], entry, { whereOf: () => where, download, share: toShare, map: toMap })),
      button("Share", "share", toShare), button("Where it is", "map", toMap),
      button("Check and repair", "health", () => health(where, entry.name, false))));
}
