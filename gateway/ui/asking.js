// A link that somebody made opens something: asks before anything of it is fetched.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { get } from "./api.js";
import { capInWords } from "./kinds.js";
import * as session from "./session.js";
import { format, go } from "./router.js";

/** The question about a cap that came in an address; none where it is that of one of the client's own folders, or reads one. */
export async function asking(main, { handle, path }, signal) {
  document.title = "A shared link · Sarsen";
  const cap = session.offered(handle);
  put(main, h("p", { class: "quiet loading" }, "Opening…"));
  const { aliases } = session.token() === null ? { aliases: [] } : await get("aliases", signal).catch(() => ({ aliases: [] }));
  if (signal.aborted) return;
  const own = aliases.find((alias) => alias.cap === cap);
  if (own) {
    session.settle(handle, false);
    location.replace(format(own.name, path));
    return;
  }
  // What one gave away oneself looks as it does to others: nothing more is granted than the link grants.
  if (aliases.some((alias) => alias.read === cap)) {
    session.settle(handle, true);
    go(location.hash);
    return;
  }
  const end = (isWanted) => {
    session.settle(handle, isWanted);
    go(isWanted ? location.hash : "#/");
  };
  const what = capInWords(cap);
  put(main, h("div", { class: "page" }, h("section", { class: "welcome" },
    h("div", { class: "welcome-mark" }, icon(what.icon)),
    h("h1", null, "This link opens something that somebody shared"),
    h("p", null, "It is ", h("b", null, what.words), ". It is none of your top folders. Open it?"),
    path.length > 0 && h("p", null, "In there it leads to “", h("bdi", null, path.join(" / ")), "”."),
    h("p", { class: "quiet" }, "Nothing of it was fetched yet. If you did not expect this link, do not open it. What is in it was put there by others, and what you put in they can read."),
    h("div", { class: "buttons left" },
      h("button", { type: "button", class: "primary", onclick: () => end(true) }, "Open it"),
      h("button", { type: "button", onclick: () => end(false) }, "Do not open it")))));
}
