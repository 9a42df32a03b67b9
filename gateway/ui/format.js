// Numbers and times as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const COUNT = new Intl.NumberFormat();

/** 1234567 -> "1.2 MB", by powers of 1000. */
export function bytes(count) {
  if (count === null || count === undefined) return "";
  let unit = 0;
  while (count >= 999.5 && unit < UNITS.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 || count >= 99.95 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
}

/** Bytes a second. */
export function rate(count) {
  return `${bytes(Math.max(0, count))}/s`;
}

/** Seconds since 1970 -> "3 Feb 2026". */
export function day(seconds) {
  return seconds === null || seconds === undefined ? "" : DAY.format(seconds * 1000);
}

/** The same to the second. */
export function moment(seconds) {
  return seconds === null || seconds === undefined ? "" : MOMENT.format(seconds * 1000);
}

/** The time of day. */
export function clock(seconds) {
  return CLOCK.format(seconds * 1000);
}

/** Seconds -> "2 min 5 s". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

/** A count with the noun it counts. */
export function many(count, one, more = `${one}s`) {
  return `${COUNT.format(count)} ${count === 1 ? one : more}`;
}

/** Signs that turn the direction of the text around them, end a line, or cannot be seen. */
const TRICKS = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** The text with a mark in place of every such sign: names are chosen by others. */
export function plain(text) {
  return text.replace(TRICKS, (sign) => `⟨U+${sign.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
}

/** A long name, cut in the middle: its end tells it from others. */
export function middle(name, most) {
  const signs = [...plain(name)];
  if (signs.length <= most) return signs.join("");
  const tail = Math.min(Math.ceil(most / 2), 12);
  return `${signs.slice(0, most - tail - 1).join("")}…${signs.slice(-tail).join("")}`;
}

const KEY = / \([a-z2-7]{8}\)$/;
const LONG = 32;

/** What each of these servers is called, by id: without the piece of its key behind its nickname, where the nickname is short, no other's, and does not end like one. */
export function nicknames(servers) {
  const bare = (server) => server.name.replace(KEY, "");
  const counts = new Map();
  for (const server of servers) counts.set(bare(server), (counts.get(bare(server)) ?? 0) + 1);
  const isPlain = (name) => name !== "" && name.length <= LONG && counts.get(name) === 1 && !/\([^()]*\)\s*$/.test(name);
  return new Map(servers.map((server) => [server.id, isPlain(bare(server)) ? plain(bare(server)) : middle(server.name, LONG)]));
}

/** By which names are ordered: letters without case, numbers by value. */
export function sortKey(name) {
  return name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, "0"));
}
