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

/** The nickname of a server, without the piece of its key that tells it from others of that name. */
export function nickname(name) {
  return name.replace(/ \([a-z2-7]{8}\)$/, "");
}

/** By which names are ordered: letters without case, numbers by value. */
export function sortKey(name) {
  return name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, "0"));
}
