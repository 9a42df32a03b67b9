// Which page the address names. A fragment is never sent, and never holds a cap:
//   #/ALIAS/a/b   a path from an alias       #/~HANDLE/a/b   from a cap that this tab remembers
//   #/            the beginning              #/:grid         the grid page

import * as session from "./session.js";
import { plain } from "./format.js";

/** A fragment that is a cap, and a path below it. */
const BARE = /^#\/?((?:\s|%20)*(?:ro\.|imm\.)?URI(?::|%3A)[^/]*)(.*)$/i;

/** What the address says: {page: "start" | "grid" | "files" | "ask", root, handle, path}. */
export function parse(fragment) {
  const parts = fragment.replace(/^#?\/?/, "").split("/").map(decode).filter((part) => part !== "");
  if (parts.length === 0) return { page: "start" };
  if (parts[0] === ":grid") return { page: "grid" };
  if (parts[0].startsWith("~") && session.offered(parts[0].slice(1)) !== null) return { page: "ask", handle: parts[0].slice(1), path: parts.slice(1) };
  return { page: "files", root: parts[0], path: parts.slice(1) };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The fragment of a path from a root. */
export function format(root, path) {
  return `#/${[root, ...path].map((part) => encodeURIComponent(part)).join("/")}`;
}

/** The root for a cap. */
export function rootOfCap(cap) {
  return `~${session.handleOf(cap)}`;
}

/** The title of the page for something of this name. Titles stay in the history, so they never hold a cap. */
export function entitle(name) {
  document.title = /URI:/i.test(name) ? "Sarsen" : `${plain(name)} · Sarsen`;
}

/** Goes to an address. */
export function go(fragment) {
  if (location.hash === fragment) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = fragment;
}

/**
 * Takes a token or a cap out of the address before anything else sees it. Anybody may have made that address: a token is given back
 * to be tried, and a cap that was not opened in this tab before is asked about.
 */
export function takeSecrets() {
  const fragment = location.hash;
  const token = /^#token=(.*)$/.exec(fragment);
  if (token) {
    history.replaceState(null, "", "#/");
    return decode(token[1]);
  }
  const bare = BARE.exec(fragment);
  if (bare) {
    const cap = decode(bare[1]).trim();
    history.replaceState(null, "", session.looksLikeCap(cap) ? `#/~${session.handleOfOffer(cap)}${bare[2]}` : "#/");
  }
  return null;
}

/** The cap in what somebody was given, alone or in a link to a gateway, and the path below it; null if there is none. */
export function capIn(text) {
  const given = text.trim();
  const link = BARE.exec(given.slice(given.indexOf("#")));
  const cap = link ? decode(link[1]).trim() : given;
  return session.looksLikeCap(cap) ? { cap, path: link ? link[2].split("/").map(decode).filter((part) => part !== "") : [] } : null;
}
