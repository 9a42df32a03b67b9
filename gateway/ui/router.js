// Which page the address names. A fragment is never sent, and never holds a cap:
//   #/ALIAS/a/b   a path from an alias       #/~HANDLE/a/b   from a cap that this tab remembers
//   #/            the beginning              #/:grid         the grid page

import * as session from "./session.js";

/** What the address says: {page: "start" | "grid" | "files", root, path}. */
export function parse(fragment) {
  const parts = fragment.replace(/^#?\/?/, "").split("/").map(decode).filter((part) => part !== "");
  if (parts.length === 0) return { page: "start" };
  if (parts[0] === ":grid") return { page: "grid" };
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

/** Goes to an address. */
export function go(fragment) {
  if (location.hash === fragment) window.dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = fragment;
}

/** Takes a token or a cap out of the address before anything else sees it. */
export function takeSecrets() {
  const fragment = location.hash;
  const token = /^#token=(.+)$/.exec(fragment);
  if (token) {
    session.setToken(decode(token[1]), session.isKept());
    history.replaceState(null, "", "#/");
    return;
  }
  const bare = /^#\/?(URI(?::|%3A)[^/]+)(.*)$/i.exec(fragment);
  if (bare && session.looksLikeCap(decode(bare[1]))) {
    history.replaceState(null, "", `#/${rootOfCap(decode(bare[1]))}${bare[2]}`);
  }
}
