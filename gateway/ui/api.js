// Requests to the gateway. Caps travel in bodies, never in addresses.

import * as session from "./session.js";

/** What the gateway refused, in its words. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `The gateway answered ${status}.`);
    this.status = status;
    this.title = body?.title ?? "That did not work";
    this.hint = body?.hint;
    this.code = body?.code;
  }
}

/** Headers of a request. */
export function headers(more) {
  const token = session.token();
  return { ...(token ? { authorization: `Bearer ${token}` } : {}), ...more };
}

async function send(path, { method, body, signal, more }) {
  let answer;
  try {
    answer = await fetch(`/api/${path}`, {
      method,
      signal,
      headers: headers({ ...(body === undefined ? {} : { "content-type": "application/json" }), ...more }),
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { title: "No answer", detail: "The gateway does not answer.", hint: "Is it still running?" });
  }
  if (!answer.ok) throw new Problem(answer.status, await answer.json().catch(() => null));
  return answer;
}

/** GET of JSON. */
export async function get(path, signal) {
  return (await send(path, { method: "GET", signal })).json();
}

/** Takes a token over if it is the gateway's own: whether it was. One that works is never given up for one that does not. */
export async function tryToken(token, keep, signal) {
  if (!/^[\x21-\x7e]+$/.test(token)) return false;
  try {
    await send("aliases", { method: "GET", signal, more: { authorization: `Bearer ${token}` } });
  } catch (error) {
    if (error.status === 401) return false;
    throw error;
  }
  session.setToken(token, keep);
  return true;
}

/** POST of JSON, answered by JSON if by anything. */
export async function post(path, body, signal) {
  const answer = await send(path, { method: "POST", body, signal });
  const text = await answer.text();
  return text === "" ? null : JSON.parse(text);
}

/** POST answered by text. */
export async function postForText(path, body, signal) {
  return (await send(path, { method: "POST", body, signal })).text();
}

/** How long lines are worked on before the page has its turn, in milliseconds; the clock is looked at every so many lines. */
export const [SLICE, LINES] = [8, 32];

/** Lets the page do what waits: keys, pointers, drawing. */
export function breathe() {
  if (globalThis.scheduler?.yield) return scheduler.yield();
  return new Promise((yes) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = yes;
    port2.postMessage(null);
  });
}

/** Calls back for every line of a stream of JSON lines, many at once: `each(lines)`. Where that fails, the rest is not fetched. */
export async function stream(method, path, body, each, signal) {
  const answer = await send(path, { method, body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let begun = performance.now();
  const isLate = () => performance.now() - begun > SLICE;
  const pause = async () => {
    await breathe();
    signal?.throwIfAborted();
    begun = performance.now();
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      // What is there already is read on without a pause otherwise, however much it is.
      if (isLate()) await pause();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (let at = 0; at < lines.length;) {
        const parsed = [];
        do parsed.push(...lines.slice(at, at + LINES).filter((line) => line !== "").map((line) => JSON.parse(line)));
        while ((at += LINES) < lines.length && !isLate());
        if (parsed.length > 0) each(parsed);
        if (isLate()) await pause();
      }
    }
    if (rest.trim() !== "") each([JSON.parse(rest)]);
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  }
}

/** JSON as it travels in a header. */
export function toHeader(value) {
  const utf8 = new TextEncoder().encode(JSON.stringify(value));
  return btoa(String.fromCharCode(...utf8)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** And back. */
export function fromHeader(text) {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(binary, (c) => c.charCodeAt(0))));
}
