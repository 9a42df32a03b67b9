// What the share map says, as pure functions of the map and of the servers that are switched off.

import { many } from "./format.js";

/** A map with what its silent servers said they hold when they still answered: nobody else can say it. */
export function remembering(map, before) {
  const silent = new Set(map.servers.filter((server) => !server.answers).map((server) => server.id));
  if (map.pieces) {
    const held = new Map((before?.servers ?? []).map((server) => [server.id, server.pieces ?? 0]));
    const most = (server) => (silent.has(server.id) ? Math.max(server.pieces, held.get(server.id) ?? 0) : server.pieces);
    return { ...map, servers: map.servers.map((server) => ({ ...server, pieces: most(server) })) };
  }
  const held = new Map((map.shares ?? []).map((share) => [share.number, new Set(share.servers)]));
  for (const share of before?.shares ?? []) {
    for (const id of share.servers.filter((one) => silent.has(one))) held.set(share.number, (held.get(share.number) ?? new Set()).add(id));
  }
  const shares = [...held].sort(([a], [b]) => a - b).map(([number, servers]) => ({ number, servers: [...servers] }));
  return map.shares ? { ...map, shares } : map;
}

/** Servers that hold something, in an order that keeps zones together; those that answer first within a zone. */
export function holders(map) {
  const held = new Map(map.servers.map((server) => [server.id, []]));
  if (!map.pieces) for (const share of map.shares ?? []) for (const id of share.servers) held.get(id)?.push(share.number);
  for (const id of map.members ?? []) held.get(id)?.push("record");
  return map.servers
    .map((server) => ({ ...server, shares: held.get(server.id) }))
    .filter((server) => server.shares.length > 0 || server.pieces > 0)
    .sort((a, b) => compare(a.zone ?? "", b.zone ?? "") || compare(a.name ?? "", b.name ?? "") || compare(a.id, b.id));
}

function compare(a, b) {
  return a.localeCompare(b, undefined, { numeric: true });
}

/**
 * Needed and present, counted in shares, or in members for what changes. `off` are ids that are switched off in the picture. Of a large
 * file they are those of the piece that is worst off, and `pieces` says how many are readable of those that were looked at.
 */
export function verdict(map, off) {
  const isOn = (server) => server.answers && !off.has(server.id);
  const on = new Set(map.servers.filter(isOn).map((server) => server.id));
  if (Array.isArray(map.members)) {
    const present = map.members.filter((id) => on.has(id)).length;
    return { byMembers: true, present, needed: map.quorum, total: map.members.length, readable: present >= map.quorum, spare: Math.max(0, present - map.quorum) };
  }
  if (map.pieces) return ofPieces(map, new Set(map.servers.flatMap((server, at) => (isOn(server) ? [at] : []))));
  return { byMembers: false, ...ofShares((map.shares ?? []).map((share) => share.servers), map.k, map.n, on) };
}

/** All pieces are needed, so the file bears what the worst of them does. */
function ofPieces({ pieces }, on) {
  let [worst, readable, spare] = [null, 0, Infinity];
  for (const group of pieces.groups) {
    const one = ofShares(group.holders, group.k, group.n, on);
    if (one.readable) readable += group.count;
    if (worst === null || one.present - one.needed < worst.present - worst.needed) worst = one;
    spare = Math.min(spare, one.spare);
  }
  const all = pieces.looked_at;
  return { byMembers: false, ...worst, readable: readable === all, spare, pieces: { readable, all } };
}

/** One object, given who holds each of its shares. */
function ofShares(shares, needed, total, on) {
  const held = shares.map((servers) => servers.filter((one) => on.has(one))).filter((servers) => servers.length > 0);
  return { present: held.length, needed, total, readable: held.length >= needed, spare: spareServers(held, needed) };
}

/** How many more servers may fail, whichever they are. Where shares are on several servers each it may be more, never fewer. */
function spareServers(held, needed) {
  const lost = held.length - needed + 1;
  if (needed === 0 || lost <= 0) return needed === 0 ? Infinity : 0;
  // So many times a server must let go of a share, at the least, until too few are left; and so often each of them does.
  let wanted = held.map((servers) => servers.length).sort((a, b) => a - b).slice(0, lost).reduce((sum, one) => sum + one, 0);
  const each = new Map();
  for (const one of held.flat()) each.set(one, (each.get(one) ?? 0) + 1);
  let failed = 0;
  for (const count of [...each.values()].sort((a, b) => b - a)) {
    if (wanted <= 0) break;
    wanted -= count;
    failed += 1;
  }
  return failed - 1;
}

/** One sentence for people. */
export function sentence(map, off) {
  if (map.kind === "literal") return "It is so small that its cap holds it: no server is needed.";
  const { byMembers, present, needed, total, readable, spare, pieces } = verdict(map, off);
  const count = pieces
    ? `${pieces.readable.toLocaleString()} of ${many(pieces.all, "piece")} readable`
    : `${present} of ${total} ${byMembers ? "members of its slot" : "shares"} can be reached, ${needed} are needed.`;
  if (!readable && byMembers) return `Not to be confirmed or changed just now: ${count}`;
  if (!readable) return pieces ? `Not readable${pieces.readable > 0 ? " as a whole" : ""}: ${count}.` : `Not readable: ${count}`;
  if (spare === 0) return pieces ? `${count}, but no further server may fail.` : `Readable, but no further server may fail: ${count}`;
  return `${pieces ? `${count}.` : `Readable: ${count}`} ${spare === 1 ? "One more server" : `${spare} more servers`} may fail, whichever ${spare === 1 ? "it is" : "they are"}.`;
}

/** What the map says of a large file's pieces beside that, for the line below the picture. */
export function aboutPieces({ pieces }) {
  if (!pieces) return [];
  return [
    pieces.looked_at < pieces.total ? `${pieces.looked_at.toLocaleString()} of about ${many(pieces.total, "piece")} looked at` : many(pieces.total, "piece"),
    pieces.closed > 0 && `what hangs off ${many(pieces.closed, "part")} of its index is not known`,
  ];
}
