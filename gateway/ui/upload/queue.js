// The queue of uploads: a few at once, the others wait. No page in here.

import { post } from "../api.js";
import { Tus } from "./tus.js";

const AT_ONCE = 4;
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

  constructor(file, where, path) {
    Object.assign(this, { file, where, path, size: file.size, name: [...path, file.name].join("/") });
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
  #folders = new Map();
  #running = 0;

  /** Adds files and empty folders below a directory: `where` is {cap, path}. */
  add({ files, folders }, where) {
    for (const { file, path } of files) this.items.push(new Item(file, where, path));
    for (const path of folders) this.#folder(where, path).catch((error) => this.#tell("problem", error));
    while (this.items.length > KEPT && this.items[0].state === "done") this.items.shift();
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

  pause(item) {
    if (!live.has(item.state)) return;
    item.state = "paused";
    item.tus?.pause();
    item.still();
    this.#pump();
  }

  resume(item) {
    if (!["paused", "failed", "later"].includes(item.state)) return;
    Object.assign(item, { state: "waiting", tries: 0, error: null });
    this.#pump();
  }

  /** Sends a file whose name is taken, in place of what is there. */
  replace(item) {
    Object.assign(item, { state: "waiting", replace: true, tus: null, error: null });
    this.#pump();
  }

  cancel(item) {
    const { tus } = item;
    item.state = "gone";
    this.items = this.items.filter((other) => other !== item);
    tus?.cancel();
    this.#pump();
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
    while (this.#running < AT_ONCE) {
      const next = this.items.find((item) => item.state === "waiting" && !item.busy);
      if (!next) break;
      this.#send(next);
    }
    this.#tell("change");
  }

  async #send(item) {
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
    else if (passes && item.tries < RETRIES) {
      item.tries += 1;
      item.state = "later";
      setTimeout(() => {
        if (item.state !== "later") return;
        item.state = "waiting";
        this.#pump();
      }, 500 * 2 ** item.tries);
    } else item.state = "failed";
  }

  /** Makes the folders on the way, each once. */
  #folder(where, path) {
    if (path.length === 0) return Promise.resolve(where);
    const key = JSON.stringify([where.cap, where.path, path]);
    if (!this.#folders.has(key)) {
      const made = this.#make(where, path);
      this.#folders.set(key, made);
      made.catch(() => this.#folders.delete(key));
    }
    return this.#folders.get(key);
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
