// One upload by tus 1.0: made, sent in pieces, taken up where it stopped.

import { Problem, headers, toHeader, fromHeader } from "../api.js";

const VERSION = { "tus-resumable": "1.0.0" };
/** A piece is what a broken connection costs at most before the gateway is asked again. */
const PIECE = 64 * 1024 * 1024;

export class Tus {
  #request = null;
  location = null;
  offset = 0;

  constructor(where, file, { replace, progress }) {
    Object.assign(this, { where, file, replace, progress });
  }

  /** Sends all that is missing. Gives the entry. */
  async run() {
    const before = this.location === null ? await this.#create() : await this.#ask();
    if (before !== null) return before;
    for (;;) {
      const piece = this.file.slice(this.offset, this.offset + PIECE);
      const answer = await this.#call("PATCH", this.location, {
        "upload-offset": this.offset, "content-type": "application/offset+octet-stream",
      }, piece);
      const offset = Number(answer.getResponseHeader("upload-offset"));
      if (offset <= this.offset && piece.size > 0) throw new Problem(0, { detail: "The gateway took nothing of what it was sent." });
      this.offset = offset;
      if (this.offset >= this.file.size) return entryOf(answer);
    }
  }

  /** Gives the entry if there was nothing to send. */
  async #create() {
    const text = (value) => btoa(String.fromCharCode(...new TextEncoder().encode(value)));
    const said = [`filename ${text(this.file.name)}`, `modified ${text(String(Math.floor(this.file.lastModified / 1000)))}`];
    if (this.replace) said.push(`replace ${text("true")}`);
    const answer = await this.#call("POST", "/api/uploads", {
      "upload-length": this.file.size, "upload-metadata": said.join(","), "sarsen-where": toHeader(this.where),
    });
    this.location = new URL(answer.getResponseHeader("location"), location.origin).pathname;
    this.offset = 0;
    return entryOf(answer);
  }

  /** Where it stopped; or from the beginning, if the gateway has forgotten it. Gives the entry if all was there. */
  async #ask() {
    try {
      const answer = await this.#call("HEAD", this.location);
      this.offset = Number(answer.getResponseHeader("upload-offset"));
      return entryOf(answer);
    } catch (error) {
      if (error.status !== 404 && error.status !== 410) throw error;
      return this.#create();
    }
  }

  /** Stops sending; `run` goes on. */
  pause() {
    this.#request?.abort();
  }

  /** Stops for good. */
  async cancel() {
    this.pause();
    if (this.location !== null) await this.#call("DELETE", this.location).catch(() => {});
  }

  #call(method, url, more, body) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.#request = request;
      request.open(method, url);
      for (const [name, value] of Object.entries(headers({ ...VERSION, ...more }))) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => body && this.progress(this.offset + event.loaded);
      request.onload = () => (request.status < 300 ? resolve(request) : reject(problem(request)));
      request.onerror = () => reject(new Problem(0, { detail: "The connection broke." }));
      request.onabort = () => reject(new DOMException("stopped", "AbortError"));
      request.send(body);
    });
  }
}

function entryOf(answer) {
  const entry = answer.getResponseHeader("sarsen-entry");
  return entry === null ? null : fromHeader(entry);
}

function problem(request) {
  let body = null;
  try {
    body = JSON.parse(request.responseText);
  } catch {
    // Not every refusal is ours.
  }
  return new Problem(request.status, body);
}
