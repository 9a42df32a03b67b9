// Deeds on many names: the gateway takes so many in one request, so they go in pieces.

import { post } from "./api.js";

const NAMES_MAX = 10_000;
/** Less than the gateway's megabyte, for the rest of the body. */
const BYTES_MAX = 768 * 1024;

/** Names as lists that one request each can carry. */
export function pieces(names) {
  const text = new TextEncoder();
  const out = [];
  let room = 0;
  for (const name of names) {
    const size = text.encode(JSON.stringify(name)).length + 1;
    if (out.length === 0 || out.at(-1).length >= NAMES_MAX || size > room) {
      out.push([]);
      room = BYTES_MAX;
    }
    out.at(-1).push(name);
    room -= size;
  }
  return out;
}

/**
 * Posts `body` with the names, piece by piece. Gives {done: names, problems, answers}; `key` is where an answer has the names that were done.
 * Where nothing was done, it fails as the request did.
 */
export async function postNames(path, body, key, names) {
  const out = { done: [], problems: [], answers: [] };
  for (const piece of pieces(names)) {
    try {
      const answer = await post(path, { ...body, names: piece });
      out.answers.push(answer);
      out.done.push(...answer[key]);
      out.problems.push(...(answer.problems ?? []));
    } catch (error) {
      if (out.done.length === 0) throw error;
      out.problems.push({ name: piece[0], problem: { detail: error.message } });
      break;
    }
  }
  return out;
}
