// The queue of uploads on the page.

import { h, put, refill, calmly } from "../dom.js";
import { icon } from "../icons.js";
import { bytes, rate, duration, many } from "../format.js";
import { toast, complain } from "../toast.js";

const SHOWN = 60;
/** Folders that are none of the client's own and are named. */
const PLACES = 3;
/** What is shown first. */
const ORDER = [["sending"], ["failed", "exists"], ["later"], ["paused"], ["waiting"], ["done"]];

/** Makes the panel of a queue; it shows itself when there is something to show. */
export function panel(queue) {
  const rows = h("ul", { class: "uploads" });
  const line = h("span", { class: "uploads-line" });
  const bar = h("progress", { max: 1, "aria-label": "All uploads" });
  const buttons = h("span", { class: "uploads-buttons" });
  const foreign = h("div", { class: "uploads-foreign", role: "status" });
  const more = h("p", { class: "quiet", hidden: true });
  const details = h("details", { class: "uploads-panel", open: true },
    h("summary", null, icon("upload"), line), bar, foreign, buttons, rows, more);
  const box = h("section", { id: "uploads", "aria-label": "Uploads", hidden: true }, details);
  let before = 0;
  const known = new Map();
  const draw = calmly(150, () => {
    box.hidden = queue.items.length === 0;
    const totals = queue.totals();
    drawHead({ line, bar, buttons }, queue, totals);
    const places = [...new Set(queue.items.map((item) => item.foreign).filter(Boolean))];
    refill(foreign, places.join("\n"), () => places.slice(0, PLACES).map((place) => h("p", null, icon("warn"),
      h("span", null, `Into “${place}”, which is not below one of your folders: others can read it.`))));
    const shown = first(queue.items);
    for (const item of known.keys()) if (!shown.includes(item)) known.delete(item);
    const elements = shown.map((item) => {
      if (!known.has(item)) known.set(item, row(queue, item));
      known.get(item).update();
      return known.get(item).element;
    });
    if (elements.some((one, i) => one !== rows.children[i]) || rows.children.length !== elements.length) put(rows, elements);
    more.hidden = queue.items.length <= SHOWN;
    put(more, `and ${queue.items.length - SHOWN} more`);
    if (before > 0 && totals.open === 0) toast(totals.failed ? `Uploads ended; ${totals.failed} did not work.` : `${many(totals.done, "file")} uploaded.`, { bad: totals.failed > 0 });
    before = totals.open;
  });
  for (const name of ["change", "progress", "stored"]) queue.addEventListener(name, draw);
  queue.addEventListener("problem", (event) => complain(event.detail));
  addEventListener("beforeunload", (event) => {
    if (queue.totals().open > 0) event.preventDefault();
  });
  return box;
}

/** The items that are shown, however many there are. */
function first(items) {
  const groups = ORDER.map(() => []);
  for (const item of items) {
    const group = groups[ORDER.findIndex((states) => states.includes(item.state))];
    if (group.length < SHOWN) group.push(item);
  }
  return groups.flat().slice(0, SHOWN);
}

function drawHead({ line, bar, buttons }, queue, totals) {
  const size = queue.items.reduce((sum, item) => sum + item.size, 0);
  const sent = queue.items.reduce((sum, item) => sum + item.sent, 0);
  const parts = totals.open === 0
    ? [`${many(totals.done, "file")} uploaded`, totals.failed && `${totals.failed} not`]
    : [many(totals.open, "upload"), `${bytes(totals.left)} to go`, totals.rate > 0 && rate(totals.rate), totals.rate > 0 && duration(totals.eta)];
  put(line, parts.filter(Boolean).join(" · "));
  bar.value = size === 0 ? (totals.open === 0 ? 1 : 0) : sent / size;
  const every = (states, deed) => () => deed(queue.items.filter((item) => states.includes(item.state)));
  const button = (label, picture, run) => h("button", { type: "button", class: "small-button", onclick: run }, icon(picture), label);
  const taken = queue.items.filter((item) => item.state === "exists").length;
  const key = [totals.open > totals.paused, totals.paused > 0, taken, totals.open === 0].join();
  refill(buttons, key, () => [
    totals.open > totals.paused && button("Pause all", "pause", every(["sending", "waiting", "later"], (items) => queue.pause(items))),
    totals.paused > 0 && button("Resume all", "play", every(["paused"], (items) => queue.resume(items))),
    taken > 1 && button(`Replace all ${taken}`, "copy", every(["exists"], (items) => queue.replace(items))),
    totals.open === 0 ? button("Clear", "close", () => queue.clear()) : button("Cancel all", "close", () => queue.cancel(queue.items)),
  ]);
}

/** A line of the queue: its element, and `update` for what changed. */
function row(queue, item) {
  const button = (label, picture, run) => h("button", { type: "button", class: "plain", "aria-label": `${label} ${item.name}`, title: label, onclick: run }, icon(picture));
  const state = h("span", { class: "upload-state" });
  const bar = h("progress", { max: 1, "aria-label": item.name });
  const buttons = h("span", { class: "upload-buttons" });
  const element = h("li", null, h("bdi", { class: "upload-name", title: item.name }, item.name), state, bar, buttons);
  const deeds = () => [
    ["sending", "waiting"].includes(item.state) && button("Pause", "pause", () => queue.pause([item])),
    item.state === "paused" && button("Resume", "play", () => queue.resume([item])),
    item.state === "failed" && button("Retry", "retry", () => queue.resume([item])),
    item.state === "exists" && button("Replace", "copy", () => queue.replace([item])),
    item.state === "done" ? icon("check") : button(item.state === "exists" ? "Skip" : "Cancel", "close", () => queue.cancel([item])),
  ];
  const update = () => {
    element.className = `upload ${item.state}`;
    bar.value = item.size === 0 ? Number(item.state === "done") : item.sent / item.size;
    refill(state, words(item), () => words(item));
    refill(buttons, item.state, deeds);
  };
  return { element, update };
}

function words(item) {
  switch (item.state) {
    case "sending": {
      const left = item.rate > 0 ? ` · ${rate(item.rate)} · ${duration((item.size - item.sent) / item.rate)}` : "";
      return item.sent >= item.size && item.size > 0 ? "Waiting for the servers to store it" : `${bytes(item.sent)} of ${bytes(item.size)}${left}`;
    }
    case "waiting": return `${bytes(item.size)} · waits`;
    case "later": return `${item.error.message} Trying again (${item.tries}).`;
    case "paused": return `${bytes(item.sent)} of ${bytes(item.size)} · paused`;
    case "exists": return "There is one of this name already.";
    case "failed": return item.error.hint ? `${item.error.message} ${item.error.hint}` : item.error.message;
    default: return bytes(item.size);
  }
}
