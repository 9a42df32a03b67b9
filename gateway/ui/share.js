// Sharing: which cap gives which right, in words. Reading first; what writes is marked.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { post, postForText } from "./api.js";
import { open } from "./dialogs.js";
import { toast, complain } from "./toast.js";

const TITLES = { read: "Can read", write: "Can read and change", verify: "Can check", repair: "Can check and repair" };

/** Shows the caps of something. */
export async function share(where, name) {
  const body = h("div", { class: "share" }, h("p", { class: "quiet" }, "Reading…"));
  open(`Share “${name}”`, body);
  try {
    const { caps } = await post("share", { where });
    const safe = caps.filter((cap) => !cap.writes);
    const writing = caps.filter((cap) => cap.writes);
    put(body,
      h("p", null, "Whoever has one of these lines has the right it carries, for ever, and can pass it on. Send it over a channel you trust."),
      safe.slice(0, 1).map(card),
      safe.length > 1 && h("details", null, h("summary", null, "For those who only look after it"), safe.slice(1).map(card)),
      writing.length > 0 && h("details", { class: "writes" },
        h("summary", null, icon("warn"), "To let others change it"), writing.map(card)));
    body.querySelector("button")?.focus();
  } catch (error) {
    complain(error);
    put(body, h("p", { class: "wrong" }, error.message));
  }
}

function card(cap) {
  const text = h("textarea", { class: "cap", readonly: true, rows: 2, spellcheck: "false", "aria-label": `${TITLES[cap.kind] ?? cap.kind}: the cap`, onfocus: (event) => event.target.select() });
  text.value = cap.cap;
  const code = h("div", { class: "qr" });
  return h("section", { class: cap.writes ? "card writes" : "card" },
    h("h3", null, icon(cap.writes ? "warn" : cap.kind === "read" ? "eye" : "health"), TITLES[cap.kind] ?? cap.kind,
      cap.writes && h("span", { class: "mark" }, "grants writing")),
    h("p", null, cap.grants),
    text,
    h("div", { class: "buttons left" },
      h("button", { type: "button", class: cap.writes ? "danger" : "primary", onclick: () => copyText(cap.cap, text) }, icon("copy"), "Copy"),
      h("button", { type: "button", onclick: () => toggleCode(code, cap.cap) }, "QR code")),
    code);
}

/** Copies, or chooses the text where the browser does not let us. */
async function copyText(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied.");
  } catch {
    field.focus();
    field.select();
    toast("Press Ctrl+C to copy.");
  }
}

async function toggleCode(box, text) {
  if (box.firstChild) {
    URL.revokeObjectURL(box.firstChild.src);
    put(box);
    return;
  }
  try {
    const picture = new Blob([await postForText("qr", { text })], { type: "image/svg+xml" });
    put(box, h("img", { src: URL.createObjectURL(picture), alt: "QR code of this cap", width: 260, height: 260 }));
  } catch (error) {
    complain(error);
  }
}
