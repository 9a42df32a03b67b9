// The beginning: folders that have names, a way in for caps, and help for those who have neither.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { get, post, tryToken } from "./api.js";
import * as session from "./session.js";
import { askText } from "./dialogs.js";
import { complain, attempt } from "./toast.js";
import { bytes, many } from "./format.js";
import { capIn, format, go, rootOfCap } from "./router.js";

/** Draws the page. */
export async function start(main, signal, isWrong = false) {
  document.title = "Sarsen";
  if (session.token() === null) {
    put(main, h("div", { class: "page" }, welcome(isWrong)));
    return;
  }
  const list = h("ul", { class: "aliases" });
  const page = h("div", { class: "page" }, h("h1", null, "Folders"), list, glance(signal), openCap());
  put(main, page);
  try {
    const { aliases } = await get("aliases", signal);
    if (aliases.length === 0) put(page, first(signal), openCap());
    else put(list, aliases.map(card), h("li", null, h("button", { type: "button", class: "alias new", onclick: create }, icon("plus"), h("span", null, "New top folder"))));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) put(page, welcome(true));
    else {
      complain(error);
      put(page, h("p", { class: "wrong" }, error.message, " ", error.hint ?? ""), openCap());
    }
  }
}

/** How often a grid that cannot store anything is looked at again. */
const AGAIN = 2000;

/** The state of the grid in a line. */
function glance(signal) {
  const line = h("p", { class: "glance", role: "status" });
  get("grid", signal).then((grid) => {
    const lack = lacking(grid);
    put(line, icon(lack === null ? "check" : "warn"), h("span", null, `${answering(grid)} `, lack ?? `You can still store ${bytes(grid.can_store)}.`, " ", h("a", { href: "#/:grid" }, "The grid")));
  }, () => line.remove());
  return line;
}

const answering = (grid) => `${grid.servers.filter((server) => server.answers).length} of ${many(grid.servers.length, "server answers", "servers answer")}.`;

/** Why nothing can be stored just now; null where something can. */
function lacking(grid) {
  if (grid.servers.length === 0) return "No server is known yet: introducers tell of them.";
  if (grid.servers.filter((server) => server.answers).length < grid.happy) return `Too few to store anything: ${grid.happy} are needed.`;
  return grid.can_store === 0 ? "There is no room left for anything." : null;
}

/** A line that is there only as long as nothing can be stored; `told` hears whether that is so. */
function warning(signal, told) {
  const line = h("p", { class: "glance bad", role: "status" });
  const look = async () => {
    while (!signal.aborted) {
      const grid = await get("grid", signal).catch(() => null);
      const lack = grid && lacking(grid);
      put(line, lack && [icon("warn"), h("span", null, `${answering(grid)} ${lack} `, h("a", { href: "#/:grid" }, "The grid"))]);
      told(Boolean(lack));
      if (!lack) return;
      await new Promise((yes) => setTimeout(yes, AGAIN));
    }
  };
  look();
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

/** Nobody gave a token: a way in for who got a cap, and where the token is to be found for whose gateway it is. */
function welcome(wrong) {
  const here = `${location.origin}/#token=…`;
  const field = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false", placeholder: here });
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
  no, h("div", { class: "buttons left" }, h("button", { type: "submit", class: wrong ? "primary" : "" }, "Go on")));
  const token = [
    h("p", null, "Your own folders show to whoever has the token of this gateway. ", h("code", null, "sarsen gateway url"), " prints the address with the token in it, on the machine where the gateway runs:"),
    h("pre", { class: "sample" }, here),
    h("p", null, "Open that address, or paste it here. It is also in the file ", h("code", null, "gateway.token"), " of the client’s directory."),
    form];
  const mark = h("div", { class: "welcome-mark" }, h("img", { src: "/ui/icon.svg", alt: "", width: 56, height: 56 }));
  if (wrong) return [h("section", { class: "welcome" }, mark, h("h1", null, "This token is not the right one"), token), openCap()];
  return [
    h("section", { class: "hello" }, mark, h("h1", null, "Welcome to Sarsen"), h("p", { class: "quiet" }, "Files that are spread over many servers, and that nobody can read without a cap.")),
    openCap(true),
    h("section", { class: "welcome" }, h("h2", null, icon("folder"), "Your own folders"), token)];
}

/** No folder has a name yet. */
function first(signal) {
  const create = h("button", { type: "submit", class: "primary" }, "Create");
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
    } }, name, create),
    warning(signal, (isShort) => { create.disabled = isShort; }));
}

/** The way in for a cap; on a page where that is what most came for, `isFirst`. */
function openCap(isFirst = false) {
  const field = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false", placeholder: "URI:…", "aria-label": "What was shared: a cap" });
  const wrong = h("p", { class: "wrong", role: "alert" });
  return h("section", { class: "open-cap" }, h("h2", null, icon("key"), "Open something shared with you"),
    h("p", { class: "quiet" }, "Somebody gave you a cap, a line that begins with URI:, or a link that has one in it? Paste it here. It does not appear in the address or in the history of the browser."),
    h("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      put(wrong);
      const found = capIn(field.value);
      if (found === null) put(wrong, "There is no cap in that: a cap begins with URI:");
      else go(format(rootOfCap(found.cap), found.path));
    } }, field, h("button", { type: "submit", class: isFirst ? "primary" : "" }, "Open")), wrong);
}
