// The share map: the file in the middle, the servers that hold its shares around it. Servers can be switched off in the picture.

import { h, s, put } from "./dom.js";
import { post } from "./api.js";
import { bytes, many, middle, nicknames } from "./format.js";
import { open } from "./dialogs.js";
import { aboutPieces, holders, remembering, verdict, sentence } from "./mapmodel.js";

/** Counts that fit into a knot: 1.4K. */
const FEW = new Intl.NumberFormat("en", { notation: "compact" });
/** How often servers are asked, of so many pieces. */
const [EVERY, MANY] = [2000, 200];
const [WIDTH, HEIGHT] = [640, 520];
const CENTRE = { x: WIDTH / 2, y: HEIGHT / 2 };
const RING = { x: 235, y: 190 };

/** Opens the map of what a cap names, and keeps it up to date while it is open: by cap, so that no folder on the way to it need be read. */
export function shareMap(cap, name) {
  const off = new Set();
  let map = null;
  let order = [];
  const stop = new AbortController();
  const picture = s("svg", { class: "map", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const words = h("p", { class: "map-words", role: "status", "aria-live": "polite" }, "Asking the servers…");
  const facts = h("p", { class: "quiet" });
  const slider = h("input", { type: "range", min: 0, max: 0, value: 0, step: 1, id: "map-slider", oninput: () => slide(Number(slider.value)) });
  const count = h("output", { for: "map-slider" }, "0");
  const toggles = h("div", { class: "map-toggles" });
  const controls = h("div", { class: "map-controls" },
    h("label", { class: "slider" }, h("span", null, "Switch servers off: ", count), slider), toggles,
    h("p", { class: "quiet" }, "Only in this picture; nothing happens to the servers."));
  open(`Where “${name}” is`, h("div", { class: "map-box" }, words, picture, controls, facts), { wide: true, onclose: () => stop.abort() });

  function slide(number) {
    off.clear();
    const answering = new Set(map.servers.filter((server) => server.answers).map((server) => server.id));
    order.filter((id) => answering.has(id)).slice(0, number).forEach((id) => off.add(id));
    draw();
  }
  const toggle = (id) => {
    if (!off.delete(id)) off.add(id);
    draw();
  };

  function draw() {
    const servers = holders(map);
    const state = verdict(map, off);
    const most = servers.filter((server) => server.answers).length;
    count.textContent = `${off.size} of ${most}`;
    slider.max = most;
    slider.value = off.size;
    const text = sentence(map, off);
    if (words.textContent !== text) put(words, text);
    words.className = `map-words ${state.readable ? (state.spare > 0 ? "good" : "thin") : "bad"}`;
    picture.setAttribute("aria-label", text);
    for (const part of [picture, controls]) part.toggleAttribute("hidden", map.kind === "literal");
    const names = nicknames(map.servers);
    put(picture, drawing(servers, off, state, toggle, names));
    drawToggles(servers, names);
  }

  function drawToggles(servers, names) {
    const zones = Map.groupBy ? Map.groupBy(servers, (server) => server.zone ?? "") : new Map([["", servers]]);
    const focused = document.activeElement?.dataset?.server;
    put(toggles, [...zones].map(([zone, some]) => h("fieldset", null, h("legend", null, zone || "Servers"),
      some.map((server) => h("label", { class: server.answers ? "" : "dead" },
        h("input", { type: "checkbox", role: "switch", checked: !off.has(server.id), disabled: !server.answers, dataset: { server: server.id }, onchange: () => toggle(server.id) }),
        h("bdi", { class: "label", title: server.name }, names.get(server.id)), h("small", null, server.answers ? shares(server) : "does not answer"))))));
    if (focused) toggles.querySelector(`[data-server="${CSS.escape(focused)}"]`)?.focus();
  }

  async function poll() {
    while (!stop.signal.aborted) {
      try {
        const next = remembering(await post("map", { where: { cap, path: [] } }, stop.signal), map);
        const changed = JSON.stringify(next) !== JSON.stringify(map);
        map = next;
        if (order.length === 0) order = shuffled(holders(map).map((server) => server.id));
        if (changed) draw();
        put(facts, [map.size !== undefined && map.size !== null && bytes(map.size), map.k && `any ${map.k} of ${map.n} shares give ${map.pieces ? "a piece" : "it"} back`, ...aboutPieces(map), map.members && `a slot: a quorum is ${map.quorum} of ${map.members.length}`].filter(Boolean).join(" · "));
      } catch (error) {
        if (error.name === "AbortError") return;
        put(facts, error.message);
        if (map === null) put(words, error.message);
      }
      // Of many pieces servers are asked much, and so less often.
      await new Promise((yes) => setTimeout(yes, EVERY * Math.max(1, (map?.pieces?.looked_at ?? 0) / MANY)));
    }
  }
  poll();
}

function shares(server) {
  if (server.pieces > 0) return `shares of ${many(server.pieces, "piece")}`;
  if (server.shares[0] === "record") return "a record";
  return server.shares.length === 1 ? `share ${server.shares[0]}` : `shares ${server.shares.join(", ")}`;
}

/** Another order each time: which servers fail is nobody's choice. */
function shuffled(ids) {
  const out = [...ids];
  for (let i = out.length - 1; i > 0; i -= 1) {
    const j = Math.floor(Math.random() * (i + 1));
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}

function drawing(servers, off, state, toggle, names) {
  const at = (index) => {
    const angle = (index / servers.length) * 2 * Math.PI - Math.PI / 2;
    return { x: CENTRE.x + RING.x * Math.cos(angle), y: CENTRE.y + RING.y * Math.sin(angle) };
  };
  const isUp = (server) => server.answers && !off.has(server.id);
  const lines = servers.map((server, i) => {
    const { x, y } = at(i);
    return s("line", { class: isUp(server) ? "way" : "way cut", x1: CENTRE.x, y1: CENTRE.y, x2: x, y2: y });
  });
  return [lines, heart(state), servers.map((server, i) => knot(server, at(i), isUp(server), toggle, names.get(server.id)))];
}

/** The file: a ring of as many parts as there are shares, filled as far as they can be reached. Of a large file, the worst piece's. */
function heart({ present, needed, total, readable, spare, pieces: counted }) {
  const radius = 62;
  const around = 2 * Math.PI * radius;
  const gap = total > 1 ? 5 : 0;
  const pieces = Array.from({ length: total }, (_, i) => s("circle", {
    class: i < present ? (readable ? "piece" : "piece short") : "piece none", r: radius, cx: CENTRE.x, cy: CENTRE.y,
    "stroke-dasharray": `${around / total - gap} ${around}`, transform: `rotate(${(360 * i) / total - 90} ${CENTRE.x} ${CENTRE.y})`,
  }));
  const angle = ((360 * needed) / total - 90) * (Math.PI / 180);
  const mark = s("line", { class: "need", x1: CENTRE.x + 50 * Math.cos(angle), y1: CENTRE.y + 50 * Math.sin(angle), x2: CENTRE.x + 76 * Math.cos(angle), y2: CENTRE.y + 76 * Math.sin(angle) });
  return s("g", { class: readable ? (spare > 0 ? "heart good" : "heart thin") : "heart bad" },
    counted && s("title", null, `${present} of ${total} shares of the piece that is worst off can be reached, ${needed} are needed`),
    s("circle", { class: "disc", r: 80, cx: CENTRE.x, cy: CENTRE.y }), pieces, total > needed && mark,
    s("text", { class: counted ? "big many" : "big", x: CENTRE.x, y: CENTRE.y + 2 }, counted ? counted.readable.toLocaleString() : `${present}`),
    s("text", { class: "under", x: CENTRE.x, y: CENTRE.y + 24 }, counted ? `of ${counted.all.toLocaleString()}` : `needs ${needed}`));
}

function knot(server, { x, y }, up, toggle, name) {
  const label = server.pieces > 0 ? FEW.format(server.pieces) : server.shares[0] === "record" ? "✓" : server.shares.slice(0, 3).join(",");
  const state = !server.answers ? "dead" : up ? "up" : "off";
  return s("g", { class: `knot ${state}`, onclick: () => server.answers && toggle(server.id) },
    s("title", null, `${server.name}: ${shares(server)}${server.answers ? "" : ", does not answer"}`),
    s("circle", { class: "knot-disc", cx: x, cy: y, r: 27 }),
    s("text", { class: "share-number", x, y: y + 6 }, label),
    !up && s("line", { class: "strike", x1: x - 17, y1: y + 17, x2: x + 17, y2: y - 17 }),
    s("text", { class: "server-name", x, y: y < CENTRE.y - 1 ? y - 35 : y + 46 }, middle(name, 14)));
}
