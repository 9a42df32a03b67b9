// Looking into a file. Stored content never runs as part of this page: pictures and media are elements, pages are frames without rights.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { post } from "./api.js";
import { bytes, day } from "./format.js";
import { kindOf } from "./kinds.js";
import { open } from "./dialogs.js";

const TEXT_LIMIT = 512 * 1024;
const GUESS_LIMIT = 64 * 1024;

/** Shows an entry; arrow keys go to the next of `entries`. `on`: whereOf(entry), download(entry), share(entry), map(entry). */
export function preview(entries, start, on) {
  const files = entries.filter((entry) => entry.kind === "file" || entry.kind === "mutable");
  let at = files.indexOf(start);
  const stage = h("div", { class: "stage", "aria-live": "polite" });
  const title = h("h2", { class: "preview-name", dir: "auto" });
  const facts = h("p", { class: "quiet preview-facts" });
  const turn = (by) => {
    if (files[at + by]) show(at + by);
  };
  const arrow = (label, picture, by) => h("button", { type: "button", class: "plain", "aria-label": label, title: label, onclick: () => turn(by) }, icon(picture));
  const [before, after] = [arrow("Previous file", "left", -1), arrow("Next file", "right", 1)];
  const deed = (label, picture, run) => h("button", { type: "button", class: "plain", "aria-label": label, title: label, onclick: () => run(files[at]) }, icon(picture));
  const bar = h("div", { class: "preview-bar" }, h("div", { class: "preview-title" }, title, facts),
    before, after, deed("Download", "download", on.download), deed("Share", "share", on.share), deed("Where its shares are", "map", on.map));
  const shown = open("Preview", h("div", { class: "preview" }, bar, stage), { wide: true, className: "preview-dialog", onclose: () => put(stage) });
  shown.dialog.addEventListener("keydown", (event) => {
    if (event.target.closest("video, audio, pre")) return;
    if (event.key === "ArrowLeft") turn(-1);
    if (event.key === "ArrowRight") turn(1);
  });

  async function show(index) {
    at = index;
    const entry = files[at];
    put(title, entry.name);
    put(facts, [bytes(entry.size), day(entry.modified)].filter(Boolean).join(" · "));
    before.disabled = at === 0;
    after.disabled = at === files.length - 1;
    put(stage, h("p", { class: "quiet" }, "Loading…"));
    try {
      const ticket = await post("tickets", { where: on.whereOf(entry), as: "inline" });
      const view = await viewOf(entry, ticket.url, () => on.download(entry));
      if (files[at] === entry && stage.isConnected) put(stage, view);
    } catch (error) {
      if (files[at] === entry) put(stage, failure(error.message));
    }
  }
  show(at);
}

function failure(text) {
  return h("p", { class: "wrong" }, icon("warn"), text);
}

function viewOf(entry, url, download) {
  const broken = (event) => event.target.replaceWith(unknown(entry, download, "The browser cannot show this file."));
  switch (kindOf(entry.name)) {
    case "image": return h("img", { src: url, alt: entry.name, onerror: broken });
    case "audio": return h("audio", { src: url, controls: true, onerror: broken });
    case "video": return h("video", { src: url, controls: true, playsinline: true, onerror: broken });
    case "pdf": return h("iframe", { src: url, title: entry.name, class: "paper" });
    case "page": return page(entry, url);
    case "text": return text(url, TEXT_LIMIT);
    default: return guess(entry, url, download);
  }
}

/** A stored page: drawn without script and without an origin, or its source. */
function page(entry, url) {
  const view = h("div", { class: "stage-inner" });
  const drawn = () => put(view, h("iframe", { src: url, title: entry.name, sandbox: "", class: "paper" }));
  const source = async () => put(view, await text(url, TEXT_LIMIT));
  drawn();
  return h("div", { class: "stage-page" },
    h("div", { class: "inline" }, h("span", { class: "quiet" }, "A stored page, without its scripts."),
      h("button", { type: "button", class: "small-button", onclick: drawn }, "Page"), h("button", { type: "button", class: "small-button", onclick: source }, "Source")),
    view);
}

async function read(url, limit) {
  const answer = await fetch(url, { headers: { range: `bytes=0-${limit - 1}` }, credentials: "omit", referrerPolicy: "no-referrer" });
  // A range of an empty file cannot be satisfied.
  if (answer.status === 416) return { data: new Uint8Array(), whole: true };
  if (!answer.ok) throw new Error(`The gateway answered ${answer.status}.`);
  const total = Number(/\/(\d+)$/.exec(answer.headers.get("content-range") ?? "")?.[1] ?? 0);
  const data = new Uint8Array(await answer.arrayBuffer());
  return { data, whole: total <= data.length };
}

async function text(url, limit) {
  const { data, whole } = await read(url, limit);
  return h("div", { class: "stage-text" },
    !whole && h("p", { class: "quiet" }, `The first ${bytes(limit)} of it.`),
    h("pre", { tabindex: "0" }, document.createTextNode(new TextDecoder().decode(data))));
}

/** A name that says nothing: shown as text if it looks like text. */
async function guess(entry, url, download) {
  if ((entry.size ?? 0) > 16 * 1024 * 1024) return unknown(entry, download);
  const { data } = await read(url, GUESS_LIMIT);
  if (data.some((byte) => byte < 9)) return unknown(entry, download);
  return text(url, TEXT_LIMIT);
}

function unknown(entry, download, why = "There is no preview of such files.") {
  return h("div", { class: "nothing" }, icon("file"), h("p", null, why),
    h("button", { type: "button", class: "primary", onclick: download }, icon("download"), `Download (${bytes(entry.size)})`));
}
