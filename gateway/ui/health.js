// Is it all there? Checks a file or a tree, and repairs it.

import { h, put } from "./dom.js";
import { icon } from "./icons.js";
import { stream } from "./api.js";
import { open } from "./dialogs.js";
import { many } from "./format.js";

const WAYS = [
  ["claimed", "Ask", "Servers say what they have. Quick."],
  ["sampled", "Sample", "Servers prove it by some blocks of their shares. Finds lost disks and most damage."],
  ["full", "Read all", "Every share is fetched and proved. Slow; leaves no doubt."],
];
const SHOWN = 200;

/** Opens the dialogue for something at `where`. */
export function health(where, name, isDir) {
  const stop = { now: null };
  const ways = WAYS.map(([value, title, words], i) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "way", value, checked: i === 0 }),
    h("span", null, h("b", null, title), " ", words)));
  const deep = h("input", { type: "checkbox", checked: isDir, disabled: !isDir });
  const out = h("div", { class: "health-out", "aria-live": "polite" });
  const buttons = h("div", { class: "buttons left" });
  const idle = () => put(buttons,
    h("button", { type: "button", class: "primary", onclick: () => run(false) }, icon("health"), "Check"),
    h("button", { type: "button", onclick: () => run(true) }, icon("retry"), "Check and repair"));
  idle();
  const body = h("div", { class: "health" }, h("fieldset", null, h("legend", null, "How"), ways),
    isDir && h("label", { class: "choice" }, deep, h("span", null, "With all that is below it")), buttons, out);
  open(`Health of “${name}”`, body, { onclose: () => stop.now?.abort() });

  async function run(repair) {
    const verify = body.querySelector("input[name=way]:checked").value;
    stop.now = new AbortController();
    put(buttons, h("button", { type: "button", onclick: () => stop.now.abort() }, icon("close"), "Stop"));
    put(out, h("progress", { "aria-label": "Checking" }), h("p", null, repair ? "Checking and repairing…" : "Checking…"));
    let broken = null;
    let ended = false;
    try {
      await stream("POST", "check", { where, deep: deep.checked && isDir, repair, verify }, (lines) => {
        for (const line of lines) {
          if (line.progress) put(out, h("progress", { "aria-label": "Checking" }), h("p", null, progress(line.progress)));
          if (line.problem) broken = line.problem.detail ?? line.problem.title;
          if (line.result) put(out, broken === null ? result(line.result, repair, () => run(true)) : h("p", { class: "wrong" }, broken));
          ended ||= Boolean(line.result);
        }
      }, stop.now.signal);
      if (!ended) put(out, h("p", { class: "wrong" }, broken ?? "The check broke off."));
    } catch (error) {
      put(out, h("p", { class: "wrong" }, error.name === "AbortError" ? "Stopped." : error.message));
    }
    stop.now = null;
    idle();
  }
}

function progress({ checked, bad }) {
  return `${many(checked, "object")} checked${bad ? `, ${bad} unhealthy` : ", all healthy so far"}.`;
}

/** What a check found, in a sentence, and the word for its colour. All is there only if all was looked at. */
export function summary({ unhealthy, unrecoverable, repaired, unknown, root_only: rootOnly, bad_shares: badShares, problems }) {
  const isWrong = unhealthy + unrecoverable > 0;
  const wrong = [
    unrecoverable > 0 && `${many(unrecoverable, "object")} cannot be read just now`,
    unhealthy > 0 && `${many(unhealthy, "object is", "objects are")} unhealthy: fewer shares or servers than wanted, or shares that are bad`,
    isWrong && badShares > 0 && `${many(badShares, "share")} found bad`,
    unknown + rootOnly > 0 && `it could not all be checked: ${[
      unknown > 0 && `${many(unknown, "object is", "objects are")} of a kind that is not known here`,
      rootOnly > 0 && `of ${many(rootOnly, "large file or folder", "large files or folders")} only the root was reached`,
    ].filter(Boolean).join(", ")}`,
  ].filter(Boolean);
  if (wrong.length > 0) {
    const words = `${wrong.join("; ")}.`;
    return [words[0].toUpperCase() + words.slice(1), unrecoverable > 0 ? "bad" : "thin"];
  }
  if (repaired > 0) return [`All of it is there now: ${many(repaired, "object was", "objects were")} repaired.`, "good"];
  return problems.length + badShares > 0 ? ["All of it can be read, but not all is as wanted.", "thin"] : ["All of it is there.", "good"];
}

function result(found, repair, mend) {
  const [line, word] = summary(found);
  const { problems } = found;
  return [
    h("p", { class: `map-words ${word}` }, line),
    h("dl", { class: "counts" }, [["Healthy", found.healthy], ["Unhealthy", found.unhealthy], ["Unreadable", found.unrecoverable], ["Repaired", found.repaired], ["Not checked", found.unknown + found.root_only]]
      .map(([name, count]) => h("div", null, h("dt", null, name), h("dd", null, count.toLocaleString())))),
    !repair && found.unhealthy > 0 && h("button", { type: "button", class: "primary", onclick: mend }, icon("retry"), "Repair now"),
    problems.length > 0 && h("ul", { class: "problems" }, problems.slice(0, SHOWN).map((problem) => h("li", null,
      h("bdi", { class: "strong" }, problem.path.join("/") || "(this)"), " ", problem.what)),
    problems.length > SHOWN && h("li", { class: "quiet" }, `and ${problems.length - SHOWN} more`)),
  ];
}
