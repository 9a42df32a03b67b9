// Short messages that go away by themselves; what failed stays until it is closed.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const LASTS = 8000;

/** Shows a message, with a deed if there is one: {label, run}. */
export function toast(text, { deed, bad = false, lasts = LASTS } = {}) {
  const close = () => box.remove();
  const box = h("div", { class: bad ? "toast bad" : "toast", role: bad ? "alert" : undefined },
    icon(bad ? "warn" : "check"),
    h("span", null, text),
    deed && h("button", { type: "button", class: "link", onclick: () => { close(); deed.run(); } }, deed.label),
    h("button", { type: "button", class: "plain", "aria-label": "Close message", onclick: close }, icon("close")));
  const area = document.querySelector("dialog:modal .toasts") ?? document.getElementById("toasts");
  area.append(box);
  let timer = 0;
  const begin = () => { if (!bad) timer = setTimeout(close, lasts); };
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("focusin", () => clearTimeout(timer));
  box.addEventListener("pointerleave", begin);
  begin();
  return close;
}

/** Says what went wrong. */
export function complain(error) {
  if (error.name === "AbortError") return;
  toast(error.hint ? `${error.message} ${error.hint}` : error.message, { bad: true });
}

/** Runs something and says what went wrong, if anything. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    complain(error);
    return undefined;
  }
}
