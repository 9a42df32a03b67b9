// What this browser remembers: the token of the installation, and caps under short handles.
// Both stay in the storage of this page alone; stored content runs in other origins and cannot see it.

const TOKEN = "token";
const CAPS = "cap-";
/** Caps that stood in an address, which anybody may have made, and that nobody agreed to open yet. */
const OFFERS = "offer-";

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

function find(kind, cap) {
  for (let i = 0; i < sessionStorage.length; i += 1) {
    const key = sessionStorage.key(i);
    if (key.startsWith(kind) && sessionStorage.getItem(key) === cap) return key.slice(kind.length);
  }
  return null;
}

function keep(kind, cap) {
  const random = crypto.getRandomValues(new Uint8Array(8));
  const handle = [...random].map((byte) => (byte % 36).toString(36)).join("");
  sessionStorage.setItem(kind + handle, cap);
  return handle;
}

/** A handle for a cap that no alias names: it stands in the address in its place. */
export function handleOf(cap) {
  return find(CAPS, cap) ?? keep(CAPS, cap);
}

/** A handle for a cap that stood in an address: of one that was opened in this tab before, or one to ask about. */
export function handleOfOffer(cap) {
  return find(CAPS, cap) ?? find(OFFERS, cap) ?? keep(OFFERS, cap);
}

/** The cap behind a handle, unless this tab does not know it or was not told to open it. */
export function capOf(handle) {
  return sessionStorage.getItem(CAPS + handle);
}

/** The cap behind a handle that is to be asked about, if there is one. */
export function offered(handle) {
  return sessionStorage.getItem(OFFERS + handle);
}

/** Ends the question: the cap is opened under this handle from now on, or forgotten. */
export function settle(handle, isWanted) {
  if (isWanted) sessionStorage.setItem(CAPS + handle, offered(handle));
  sessionStorage.removeItem(OFFERS + handle);
}

/** Whether a text could be a cap. The gateway judges. */
export function looksLikeCap(text) {
  return /^(ro\.|imm\.)?URI:[A-Za-z0-9:-]+/.test(text);
}
