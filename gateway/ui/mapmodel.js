// What the share map says, as pure functions of the map and of the servers that are switched off.

/** A map with what its silent servers said they hold when they still answered: nobody else can say it. */
export function remembering(map, before) {
  const silent = new Set(map.servers.filter((server) => !server.answers).map((server) => server.id));
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
  for (const share of map.shares ?? []) for (const id of share.servers) held.get(id)?.push(share.number);
  for (const id of map.members ?? []) held.get(id)?.push("record");
  return map.servers
    .map((server) => ({ ...server, shares: held.get(server.id) }))
    .filter((server) => server.shares.length > 0)
    .sort((a, b) => compare(a.zone ?? "", b.zone ?? "") || compare(a.name ?? "", b.name ?? "") || compare(a.id, b.id));
}

function compare(a, b) {
  return a.localeCompare(b, undefined, { numeric: true });
}

/** Needed and present, counted in shares, or in members for what changes. `off` are ids that are switched off in the picture. */
export function verdict(map, off) {
  const answers = new Set(map.servers.filter((server) => server.answers && !off.has(server.id)).map((server) => server.id));
  const byMembers = Array.isArray(map.members);
  const present = byMembers
    ? map.members.filter((id) => answers.has(id)).length
    : (map.shares ?? []).filter((share) => share.servers.some((id) => answers.has(id))).length;
  const needed = byMembers ? map.quorum : map.k;
  const total = byMembers ? map.members.length : map.n;
  return { byMembers, present, needed, total, readable: present >= needed, spare: spareServers(map, answers, byMembers, needed) };
}

/** How many more servers may fail, whichever they are: the ones that take most with them go first. */
function spareServers(map, answers, byMembers, needed) {
  if (map.kind === "literal") return Infinity;
  if (byMembers) return Math.max(0, map.members.filter((id) => answers.has(id)).length - needed);
  const left = new Set(answers);
  const present = () => map.shares.filter((share) => share.servers.some((id) => left.has(id))).length;
  let spare = -1;
  while (present() >= needed) {
    spare += 1;
    const worst = [...left].map((id) => [id, loss(map, left, id)]).sort((a, b) => b[1] - a[1])[0];
    if (!worst || worst[1] === 0) break;
    left.delete(worst[0]);
  }
  return Math.max(0, spare);
}

function loss(map, left, id) {
  return map.shares.filter((share) => share.servers.includes(id) && share.servers.every((other) => other === id || !left.has(other))).length;
}

/** One sentence for people. */
export function sentence(map, off) {
  if (map.kind === "literal") return "It is so small that its cap holds it: no server is needed.";
  const { byMembers, present, needed, total, readable, spare } = verdict(map, off);
  const thing = byMembers ? "members of its slot" : "shares";
  const count = `${present} of ${total} ${thing} can be reached, ${needed} are needed.`;
  if (!readable && byMembers) return `Not to be confirmed or changed just now: ${count}`;
  if (!readable) return `Not readable: ${count}`;
  if (spare === 0) return `Readable, but no further server may fail: ${count}`;
  return `Readable: ${count} ${spare === 1 ? "One more server" : `${spare} more servers`} may fail, whichever ${spare === 1 ? "it is" : "they are"}.`;
}
