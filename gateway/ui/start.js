// The beginning: folders that have names, a way in for caps, and help for those who have neither.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { get, post, tryToken } from "./api.js";
import * as session from "./session.js";
import { askText } from "./dialogs.js";
import { complain, attempt } from "./toast.js";
import { bytes } from "./format.js";
import { format, go, rootOfCap } from "./router.js";

/** Draws the page. */
export async function start(main, signal, isWrong = false) {
  document.title = "Sarsen";
  if (session.token() === null) {
    put(main, h("div", { class: "page" }, welcome(isWrong), openCap()));
    return;
  }
  const list = h("ul", { class: "aliases" });
  const page = h("div", { class: "page" }, h("h1", null, "Folders"), list, glance(signal), openCap());
  put(main, page);
  try {
    const { aliases } = await get("aliases", signal);
    if (aliases.length === 0) put(page, first(), openCap());
    else put(list, aliases.map(card), h("li", null, h("button", { type: "button", class: "alias new", onclick: create }, icon("plus"), h("span", null, "New top folder"))));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) put(page, welcome(true), openCap());
    else {
      complain(error);
      put(page, h("p", { class: "wrong" }, error.message, " ", error.hint ?? ""), openCap());
    }
  }
}

/** The state of the grid in a line. */
function glance(signal) {
  const line = h("p", { class: "glance", role: "status" });
  get("grid", signal).then((grid) => {
    const up = grid.servers.filter((server) => server.answers).length;
    put(line, icon(up >= grid.happy ? "check" : "warn"), h("span", null, `${up} of ${grid.servers.length} servers answer. `,
      up >= grid.happy ? `You can still store ${bytes(grid.can_store)}. ` : `Too few to store anything: ${grid.happy} are needed. `, h("a", { href: "#/:grid" }, "The grid")));
  }, () => line.remove());
  return line;
}

function card(alias) {
  return h("li", null, h("a", { class: "alias", href: format(alias.name, []) },
    h("span", { class: "kind kind-folder" }, icon("folder")), h("bdi", { class: "label" }, alias.name), !alias.writable && h("span", { class: "badge" }, "read only")));
}

function create() {
  return askText("New top folder", { label: "Create", name: "Name", hint: "A short name for it on this computer.", go: async (alias) => {
    await post("newroot", { alias });
    go(format(alias, []));
  } });
}

/** Nobody gave a token: where it is to be found. */
function welcome(wrong) {
  const field = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false", placeholder: "http://127.0.0.1:3456/#token=…" });
  const keep = h("input", { type: "checkbox" });
  const no = h("p", { class: "wrong", role: "alert" });
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    attempt(async () => {
      if (await tryToken(field.value.trim().replace(/^.*#token=/, ""), keep.checked)) go("#/");
      else put(no, "This token is not the right one.");
    });
  } },
  h("label", { class: "field" }, h("span", null, "Address or token"), field),
  h("label", { class: "choice" }, keep, h("span", null, "Keep it in this browser")),
  no, h("div", { class: "buttons left" }, h("button", { type: "submit", class: "primary" }, "Go on")));
  return h("section", { class: "welcome" },
    h("div", { class: "welcome-mark" }, h("img", { src: "/ui/icon.svg", alt: "", width: 56, height: 56 })),
    h("h1", null, wrong ? "This token is not the right one" : "Welcome to Sarsen"),
    h("p", null, "This page shows your folders to whoever has the token of this gateway. ", h("code", null, "sarsen gateway url"), " prints the address with the token in it, on the machine where the gateway runs:"),
    h("pre", { class: "sample" }, "http://127.0.0.1:3456/#token=…"),
    h("p", null, "Open that address, or paste it here. It is also in the file ", h("code", null, "gateway.token"), " of the client’s directory."),
    form);
}

/** No folder has a name yet. */
function first() {
  const name = h("input", { type: "text", required: true, value: "home", maxlength: 100, autocomplete: "off", "aria-label": "Name of your first folder" });
  return h("section", { class: "welcome" },
    h("div", { class: "welcome-mark" }, icon("folder")),
    h("h1", null, "Make your first folder"),
    h("p", null, "What you put into it is encrypted here, cut into shares and spread over the servers of your grid. Nobody can read it who has no cap of it; this computer keeps the one that can write, under the name you give."),
    h("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      attempt(async () => {
        await post("newroot", { alias: name.value });
        go(format(name.value, []));
      });
    } }, name, h("button", { type: "submit", class: "primary" }, "Create")));
}

function openCap() {
  const field = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false", placeholder: "URI:…", "aria-label": "A cap" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  return h("section", { class: "open-cap" }, h("h2", null, icon("key"), "Open a cap"),
    h("p", { class: "quiet" }, "Somebody gave you a line that begins with URI: — paste it here. It does not appear in the address or in the history of the browser."),
    h("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      const cap = field.value.trim();
      put(wrong);
      if (!session.looksLikeCap(cap)) put(wrong, "That is no cap: a cap begins with URI:");
      else go(format(rootOfCap(cap), []));
    } }, field, h("button", { type: "submit" }, "Open")), wrong);
}
