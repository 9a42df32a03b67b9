// The grid page: its servers by zone, what it still holds, what happens.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { get } from "./api.js";
import { bytes, many, nicknames } from "./format.js";
import { live } from "./live.js";

const EVERY = 2000;

/** Draws the page, and keeps it up to date until `signal`. */
export function gridPage(main, signal) {
  document.title = "Grid · Sarsen";
  const top = h("section", { class: "grid-top", "aria-label": "Summary" }, h("p", { class: "quiet" }, "Asking the servers…"));
  const zones = h("div", { class: "zones" });
  const names = new Map();
  put(main, h("div", { class: "page wide-page" }, h("h1", { class: "hidden" }, "Grid"), top, zones, live(names, signal)));
  poll(top, zones, names, signal);
}

async function poll(top, zones, names, signal) {
  let before = "";
  while (!signal.aborted) {
    try {
      const grid = await get("grid", signal);
      for (const [id, name] of nicknames(grid.servers)) names.set(id, name);
      const now = JSON.stringify(grid);
      if (now !== before) draw(top, zones, grid, names);
      before = now;
    } catch (error) {
      if (error.name === "AbortError") return;
      put(top, h("p", { class: "wrong" }, icon("warn"), error.message, " ", error.hint ?? ""));
      before = "";
    }
    await new Promise((yes) => setTimeout(yes, EVERY));
  }
}

function draw(top, zones, grid, names) {
  const up = grid.servers.filter((server) => server.answers).length;
  const sum = (field) => grid.servers.reduce((total, server) => total + server[field], 0);
  const enough = up >= grid.happy;
  put(top,
    h("div", { class: "tile hero" }, h("span", { class: "quiet" }, "You can still store"), h("strong", null, bytes(grid.can_store)),
      h("span", { class: "quiet" }, `of files: any ${grid.k} of ${grid.n} shares give one back`), meter(sum("used"), sum("capacity"))),
    figure("Servers that answer", `${up} of ${grid.servers.length}`, enough ? "good" : "bad", enough ? `${grid.happy} are needed to store` : `too few: ${grid.happy} are needed to store`),
    figure("Used", bytes(sum("used")), "", `of ${bytes(sum("capacity"))} on all servers`),
    figure("Introducers", `${grid.introducers.filter((one) => one.answers).length} of ${grid.introducers.length}`, grid.introducers.some((one) => one.answers) ? "good" : "thin", "tell of new servers"),
    account(grid.account));
  const byZone = new Map();
  for (const server of grid.servers) byZone.set(server.zone ?? "", [...(byZone.get(server.zone ?? "") ?? []), server]);
  put(zones, [...byZone].sort(([a], [b]) => a.localeCompare(b)).map(([zone, servers]) => h("section", { class: "zone" },
    h("h2", null, h("bdi", null, zone === "" ? "Servers" : zone), h("span", { class: "quiet" }, many(servers.length, "server"))),
    h("div", { class: "tiles" }, servers.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })).map((server) => tile(server, names.get(server.id)))))));
}

function figure(title, value, word, under) {
  return h("div", { class: `tile figure ${word}` }, h("span", { class: "quiet" }, title), h("strong", null, value), h("span", { class: "quiet" }, under));
}

function account(account) {
  return figure("Your account", bytes(account.used), "", account.quota ? `of ${bytes(account.quota)}` : "charged by the servers");
}

function meter(used, total) {
  return h("meter", { min: 0, max: Math.max(1, total), value: used, high: total * 0.9, optimum: 0, "aria-label": `${bytes(used)} of ${bytes(total)} used` });
}

function tile(server, name) {
  const state = server.answers ? server.state : "no answer";
  const word = !server.answers ? "bad" : state === "up" ? "good" : "thin";
  return h("article", { class: `tile server ${word}` },
    h("h3", null, icon("server"), h("bdi", { class: "label", title: server.name }, name), h("span", { class: `state ${word}` }, state)),
    server.capacity > 0 && meter(server.used, server.capacity),
    h("p", null, server.capacity > 0 && [h("b", null, bytes(server.used)), ` of ${bytes(server.capacity)}`]),
    !server.answers && h("p", { class: "quiet" }, "Cannot be reached just now."),
    h("p", { class: "quiet" }, [server.answers && server.rtt_ms !== null && `${server.rtt_ms < 10 ? server.rtt_ms.toFixed(1) : Math.round(server.rtt_ms)} ms`, server.capacity > 0 && `${bytes(server.free)} free`, server.stores > 1 && many(server.stores, "store")].filter(Boolean).join(" · ")));
}
