// Dialogues: the browser's own <dialog>, which keeps the focus inside and gives it back.

import { h, put, focusIn } from "./dom.js";
import { icon } from "./icons.js";
import { Problem } from "./api.js";
import { plain } from "./format.js";

/** Opens a dialogue around a body. `close()` ends it; `onclose` hears of it. */
export function open(title, body, { wide = false, onclose, className = "" } = {}) {
  const close = () => dialog.close();
  const dialog = h("dialog", { class: `${wide ? "wide" : ""} ${className}`, "aria-label": title },
    h("div", { class: "dialog-head" },
      h("h2", null, title),
      h("button", { type: "button", class: "plain", "aria-label": "Close", onclick: close }, icon("close"))),
    h("div", { class: "dialog-body" }, body),
    h("div", { class: "toasts", role: "status", "aria-live": "polite" }));
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    // Messages that came meanwhile outlive the dialogue.
    document.getElementById("toasts").append(...dialog.querySelector(".toasts").children);
    dialog.remove();
    before?.focus?.();
    onclose?.();
  });
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target === dialog) close();
  });
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(dialog);
  dialog.showModal();
  focusIn(dialog.querySelector(".dialog-body"));
  return { dialog, close };
}

/** Asks for something. `fields` are elements, `go` the deed; it may fail, and then the dialogue stays and says why. */
export function ask(title, fields, { label, danger = false, go, wide = false, onclose }) {
  return new Promise((resolve) => {
    let result;
    const wrong = h("p", { class: "wrong", role: "alert" });
    const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, label);
    const form = h("form", { method: "dialog" }, fields, wrong,
      h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => shown.close() }, "Cancel"), submit));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      put(wrong);
      try {
        result = (await go()) ?? true;
        shown.close();
      } catch (error) {
        put(wrong, error instanceof Problem && error.hint ? `${error.message} ${error.hint}` : error.message);
        submit.disabled = false;
      }
    });
    const shown = open(title, form, { wide, onclose: () => { onclose?.(); resolve(result); } });
  });
}

/** Asks for a line of text. */
export function askText(title, { label, value = "", go, name, hint, select }) {
  const input = h("input", { type: "text", value, required: true, autofocus: true, autocomplete: "off", spellcheck: "false", maxlength: 2000, dir: "auto" });
  const field = h("label", { class: "field" }, h("span", null, name), input, plain(value) !== value && h("small", null, `This name has signs in it that cannot be seen: ${plain(value)}`), hint && h("small", null, hint));
  const done = ask(title, field, { label, go: () => go(input.value) });
  if (select !== undefined) input.setSelectionRange(0, select);
  return done;
}

/** A yes or no. */
export function confirm(title, text, { label, danger = false, go = () => true }) {
  return ask(title, h("p", null, text), { label, danger, go });
}

/** What a button needs that opens a menu. */
export const OPENS_MENU = { "aria-haspopup": "menu", "aria-expanded": "false" };
let closeMenu = () => {};

/** A menu at a place: items are {label, icon, run, danger}; null is a line between. */
export function menu(anchor, items, at) {
  closeMenu();
  const expand = (is) => anchor?.hasAttribute("aria-expanded") && anchor.setAttribute("aria-expanded", is);
  const close = (event) => {
    if (event && box.contains(event.target)) return;
    box.remove();
    expand(false);
    closeMenu = () => {};
    document.removeEventListener("pointerdown", close, true);
    if (!event) anchor?.focus?.();
  };
  closeMenu = close;
  expand(true);
  const rows = items.map((item) => item === null
    ? h("hr", { role: "separator" })
    : h("button", { type: "button", role: "menuitem", class: item.danger ? "danger-text" : "", onclick: () => { close(); item.run(); } },
      icon(item.icon), h("span", null, item.label)));
  const box = h("div", { class: "menu", role: "menu" }, rows);
  box.addEventListener("keydown", (event) => menuKey(event, box, close));
  document.body.append(box);
  place(box, anchor, at);
  document.addEventListener("pointerdown", close, true);
  box.querySelector("button")?.focus();
}

function menuKey(event, box, close) {
  const buttons = [...box.querySelectorAll("button")];
  const now = buttons.indexOf(document.activeElement);
  const goTo = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (goTo !== undefined) buttons.at(goTo % buttons.length).focus();
  else if (event.key === "Escape" || event.key === "Tab") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function place(box, anchor, at) {
  const from = at ?? anchor.getBoundingClientRect();
  const x = at ? at.x : from.right - box.offsetWidth;
  const y = at ? at.y : from.bottom + 4;
  box.style.left = `${Math.max(8, Math.min(x, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(8, Math.min(y, innerHeight - box.offsetHeight - 8))}px`;
}
