// The queue of uploads: a few at once, the others wait. No page in here.

import { post } from "../api.js";
import { Tus } from "./tus.js";

/** Of the six connections that a browser has to a host, some are left for the page. */
const AT_ONCE = 3;
const RETRIES = 5;
const KEPT = 200;
const live = new Set(["waiting", "sending", "paused", "later"]);

/** What happens to one file: waiting, sending, paused, exists, failed, done. */
export class Item {
  state = "waiting";
  sent = 0;
  tries = 0;
  error = null;
  #marks = [];

  constructor(file, where, path, foreign) {
    Object.assign(this, { file, where, path, foreign, size: file.size, name: [...path, file.name].join("/") });
  }

  /** Bytes a second over the last seconds. */
  get rate() {
    const first = this.#marks[0];
    const last = this.#marks.at(-1);
    return this.state !== "sending" || !first || last.at - first.at < 200 ? 0 : ((last.sent - first.sent) * 1000) / (last.at - first.at);
  }

  mark(sent) {
    const at = performance.now();
    if (sent < this.sent) this.#marks = [];
    this.sent = sent;
    this.#marks.push({ at, sent });
    while (this.#marks.length > 2 && at - this.#marks[0].at > 5000) this.#marks.shift();
  }

  still() {
    this.#marks = [];
  }
}

export class Queue extends EventTarget {
  items = [];
  /** Folders on the way that were made for the files of now, by place: promises of their places. */
  #folders = new Map();
  /** Items whose turn comes, in their order. */
  #waiting = new Set();
  #running = 0;

  /** Adds files and empty folders below a directory: `where` is {cap, path}; `foreign` is what it is called if it is none of the client's own. */
  add({ files, folders }, where, foreign = null) {
    for (const { file, path } of files) {
      const item = new Item(file, where, path, foreign);
      this.items.push(item);
      this.#waiting.add(item);
    }
    for (const path of folders) this.#folder(where, path).catch((error) => this.#tell("problem", error));
    const first = this.items.findIndex((item) => item.state !== "done");
    this.items.splice(0, Math.min(first, this.items.length - KEPT));
    this.#pump();
  }

  /** Total and done bytes, rate and time left of what is not over yet. */
  totals() {
    const open = this.items.filter((item) => live.has(item.state));
    const left = open.reduce((sum, item) => sum + item.size - item.sent, 0);
    const rate = open.reduce((sum, item) => sum + item.rate, 0);
    const count = (state) => this.items.filter((item) => item.state === state).length;
    return { open: open.length, left, rate, eta: rate > 0 ? left / rate : NaN, done: count("done"), failed: count("failed") + count("exists"), paused: count("paused") };
  }

  pause(items) {
    for (const item of items.filter((one) => live.has(one.state))) {
      item.state = "paused";
      this.#waiting.delete(item);
      item.tus?.pause();
      item.still();
    }
    this.#pump();
  }

  resume(items) {
    for (const item of items) if (["paused", "failed", "later"].includes(item.state)) this.#enter(item, { tries: 0, error: null });
    this.#pump();
  }

  /** Sends files whose names are taken, in place of what is there. */
  replace(items) {
    for (const item of items) this.#enter(item, { replace: true, tus: null, error: null });
    this.#pump();
  }

  cancel(items) {
    for (const item of items) {
      item.state = "gone";
      this.#waiting.delete(item);
      item.tus?.cancel();
    }
    this.items = this.items.filter((item) => item.state !== "gone");
    this.#pump();
  }

  #enter(item, more) {
    Object.assign(item, { state: "waiting", ...more });
    this.#waiting.add(item);
  }

  /** Takes out what is over. */
  clear() {
    this.items = this.items.filter((item) => live.has(item.state));
    this.#tell("change");
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  #pump() {
    for (const item of this.#waiting) {
      if (this.#running >= AT_ONCE) break;
      if (!item.busy) this.#send(item);
    }
    // Folders may be deleted between two uploads: those of the next are looked for again.
    if (this.#running === 0 && !this.items.some((item) => live.has(item.state))) this.#folders.clear();
    this.#tell("change");
  }

  async #send(item) {
    this.#waiting.delete(item);
    Object.assign(item, { state: "sending", busy: true });
    this.#running += 1;
    try {
      const where = await this.#folder(item.where, item.path);
      item.tus ??= new Tus(where, item.file, { replace: item.replace, progress: (sent) => { item.mark(sent); this.#tell("progress", item); } });
      const entry = item.state === "sending" ? await item.tus.run() : null;
      if (item.state === "sending") {
        item.mark(item.size);
        item.state = "done";
        this.#tell("stored", { item, entry });
      }
    } catch (error) {
      this.#failed(item, error);
    }
    item.busy = false;
    item.still();
    this.#running -= 1;
    this.#pump();
  }

  #failed(item, error) {
    if (item.state !== "sending") return;
    item.error = error;
    const passes = ["offset", "taken-over", "locked", "timeout", "broken-off"].includes(error.code) || error.status === 0 || error.status === 503 || error.status === 429 || error.status >= 500 && error.status !== 507;
    if (error.code === "exists") item.state = "exists";
    else if (error.code === "not-found" && item.path.length > 0 && !item.lost) {
      // A folder on the way is gone, though this page made it: once more from there.
      item.lost = true;
      this.#forget(item);
      this.#enter(item, { tus: null });
    } else if (passes && item.tries < RETRIES) {
      item.tries += 1;
      item.state = "later";
      setTimeout(() => {
        if (item.state !== "later") return;
        this.#enter(item);
        this.#pump();
      }, 500 * 2 ** item.tries);
    } else item.state = "failed";
  }

  /** Makes the folders on the way, each once. */
  #folder(where, path) {
    if (path.length === 0) return Promise.resolve(where);
    const key = keyOf(where, path);
    if (!this.#folders.has(key)) {
      const made = this.#make(where, path);
      this.#folders.set(key, made);
      made.catch(() => this.#folders.delete(key));
    }
    return this.#folders.get(key);
  }

  #forget({ where, path }) {
    for (let depth = 1; depth <= path.length; depth += 1) this.#folders.delete(keyOf(where, path.slice(0, depth)));
  }

  async #make(where, path) {
    const parent = await this.#folder(where, path.slice(0, -1));
    const name = path.at(-1);
    try {
      const entry = await post("mkdir", { where: parent, name });
      if (path.length === 1) this.#tell("folder", { where, entry });
    } catch (error) {
      if (error.code !== "exists") throw error;
    }
    return { cap: parent.cap, path: [...(parent.path ?? []), name] };
  }
}

function keyOf(where, path) {
  return JSON.stringify([where.cap, where.path, path]);
}
