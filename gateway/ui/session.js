// What this browser remembers: the token of the installation, and caps under short handles.
// Both stay in the storage of this page alone; stored content runs in other origins and cannot see it.

const TOKEN = "token";
const CAPS = "cap-";

/** The token, unless nobody gave one. */
export function token() {
  return sessionStorage.getItem(TOKEN) ?? localStorage.getItem(TOKEN);
}

/** Takes the token over; `keep` outlives this tab. */
export function setToken(text, keep) {
  sessionStorage.setItem(TOKEN, text);
  if (keep) localStorage.setItem(TOKEN, text);
  else localStorage.removeItem(TOKEN);
}

/** Whether the token outlives this tab. */
export function isKept() {
  return localStorage.getItem(TOKEN) !== null;
}

/** Forgets the token and all caps. */
export function forget() {
  sessionStorage.clear();
  localStorage.removeItem(TOKEN);
}

/** A handle for a cap that no alias names: it stands in the address in its place. */
export function handleOf(cap) {
  for (let i = 0; i < sessionStorage.length; i += 1) {
    const key = sessionStorage.key(i);
    if (key.startsWith(CAPS) && sessionStorage.getItem(key) === cap) return key.slice(CAPS.length);
  }
  const random = crypto.getRandomValues(new Uint8Array(5));
  const handle = [...random].map((byte) => (byte % 36).toString(36)).join("");
  sessionStorage.setItem(CAPS + handle, cap);
  return handle;
}

/** The cap behind a handle, unless this tab does not know it. */
export function capOf(handle) {
  return sessionStorage.getItem(CAPS + handle);
}

/** Whether a text could be a cap. The gateway judges. */
export function looksLikeCap(text) {
  return /^URI:[A-Za-z0-9:-]+/.test(text);
}
