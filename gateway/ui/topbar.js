// The bar at the top: name, pages, light or dark, help.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { open, menu, OPENS_MENU } from "./dialogs.js";
import * as session from "./session.js";
import { go } from "./router.js";

const KEYS = [
  ["↑ ↓ PgUp PgDn Home End", "Go through the entries; Shift chooses on the way, Ctrl only goes"],
  ["Enter", "Open"], ["Space", "Choose this too, or no more"], ["Ctrl A", "Choose all"], ["Esc", "Choose none"],
  ["Backspace, Alt ↑", "The folder above"], ["F2", "Rename"], ["Delete", "Delete"], ["Shift F10", "All actions"],
  ["/", "Search"], ["letters", "To the next name that begins so"], ["?", "This list"],
];

/** Draws the bar; `mark(page)` shows which page it is. */
export function topbar(element) {
  const link = (href, label, picture) => h("a", { href, class: "tab" }, icon(picture), h("span", null, label));
  const [folders, grid] = [link("#/", "Folders", "folder"), link("#/:grid", "Grid", "server")];
  const button = (label, picture, run, id, more) => h("button", { type: "button", class: "plain", "aria-label": label, title: label, id, onclick: run, ...more }, icon(picture));
  put(element,
    h("a", { href: "#/", class: "brand" }, h("img", { src: "/ui/icon.svg", alt: "", width: 26, height: 26 }), h("span", null, "Sarsen")),
    h("nav", { "aria-label": "Pages" }, folders, grid),
    h("span", { class: "spring" }),
    button("Keys", "unknown", help, "help"),
    button("Light or dark", "theme", switchTheme, "theme"),
    button("Token", "key", (event) => tokenMenu(event.currentTarget), "token", OPENS_MENU));
  return {
    mark(page) {
      for (const [tab, is] of [[folders, page !== "grid"], [grid, page === "grid"]]) {
        if (is) tab.setAttribute("aria-current", "page");
        else tab.removeAttribute("aria-current");
      }
    },
  };
}

/** Turns light into dark and back, and remembers it unless it is what the system says. */
function switchTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const now = document.documentElement.dataset.theme ?? system;
  const next = now === "dark" ? "light" : "dark";
  if (next === system) {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("theme");
  } else {
    document.documentElement.dataset.theme = next;
    localStorage.setItem("theme", next);
  }
}

function tokenMenu(anchor) {
  const token = session.token();
  menu(anchor, [
    token && !session.isKept() && { label: "Keep the token in this browser", icon: "check", run: () => session.setToken(token, true) },
    token && session.isKept() && { label: "Keep the token in this tab only", icon: "close", run: () => session.setToken(token, false) },
    { label: "Forget the token and all caps", icon: "trash", danger: true, run: () => { session.forget(); go("#/"); } },
  ].filter(Boolean));
}

function help() {
  open("Keys", h("dl", { class: "keys" }, KEYS.map(([key, what]) => h("div", null, h("dt", null, h("kbd", null, key)), h("dd", null, what)))));
}
