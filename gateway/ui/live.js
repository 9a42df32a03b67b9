// What happens just now: transfers with their rates per server, and recent events.

import { h, put, calmly } from "./dom.js";
import { icon } from "./icons.js";
import { stream } from "./api.js";
import { bytes, rate, clock } from "./format.js";

const EVENTS = 50;
const AGAIN = 3000;

/** The two lists, fed until `signal`. `names` maps ids of servers to names. */
export function live(names, signal) {
  const transfers = h("div", { class: "transfers" });
  const events = h("ol", { class: "events" });
  const state = { transfers: [], events: [] };
  const draw = calmly(100, () => {
    put(transfers, state.transfers.length === 0 ? h("p", { class: "quiet" }, "Nothing is on its way.") : state.transfers.map((one) => transfer(one, names)));
    put(events, state.events.length === 0 ? h("li", { class: "quiet" }, "Nothing yet.") : state.events.map(event));
  });
  draw();
  listen(state, draw, signal);
  return h("div", { class: "live" },
    h("section", { class: "tile" }, h("h2", null, "Transfers"), transfers),
    h("section", { class: "tile" }, h("h2", null, "Recent events"), events));
}

async function listen(state, draw, signal) {
  while (!signal.aborted) {
    state.events = [];
    try {
      await stream("GET", "events", undefined, (lines) => {
        for (const line of lines) {
          if (line.transfers) state.transfers = line.transfers;
          else state.events.unshift(line.event);
        }
        state.events.length = Math.min(state.events.length, EVENTS);
        draw();
      }, signal);
    } catch (error) {
      if (error.name === "AbortError") return;
    }
    state.transfers = [];
    await new Promise((yes) => setTimeout(yes, AGAIN));
  }
}

function transfer(one, names) {
  const servers = Object.entries(one.servers).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...servers.map(([, value]) => value));
  return h("div", { class: "transfer" },
    h("p", null, icon(one.direction === "up" ? "upload" : "download"), h("bdi", { class: "strong" }, one.name), " ",
      h("span", { class: "quiet" }, `${bytes(one.done)}${one.total ? ` of ${bytes(one.total)}` : ""} · ${rate(one.rate)}`)),
    one.total ? h("progress", { max: one.total, value: one.done, "aria-label": one.name }) : null,
    h("ul", { class: "rates" }, servers.map(([id, value]) => h("li", null,
      h("bdi", { class: "label" }, names.get(id) ?? id.slice(0, 8)), h("meter", { min: 0, max: most, value, "aria-hidden": "true" }), h("span", { class: "quiet" }, rate(value))))));
}

function event(one) {
  return h("li", null, h("time", { datetime: new Date(one.at * 1000).toISOString() }, clock(one.at)), h("span", { dir: "auto" }, one.text));
}
