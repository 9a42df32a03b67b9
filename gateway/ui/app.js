// Begins here: takes secrets out of the address, then shows the page that it names.

import { h, put } from "./dom.js";
import { tryToken } from "./api.js";
import { parse, takeSecrets } from "./router.js";
import * as session from "./session.js";
import { toast, attempt } from "./toast.js";
import { topbar } from "./topbar.js";
import { start } from "./start.js";
import { asking } from "./asking.js";
import { files } from "./files.js";
import { gridPage } from "./gridpage.js";
import { Queue } from "./upload/queue.js";
import { panel } from "./upload/panel.js";

const main = document.getElementById("main");
const bar = topbar(document.getElementById("top"));
const queue = new Queue();
document.body.append(panel(queue));
let shown = null;

async function show() {
  if (location.hash === "#main") return;
  const token = takeSecrets();
  const isFirst = shown === null;
  shown?.abort();
  shown = new AbortController();
  const { signal } = shown;
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  const isWrong = token !== null && await attempt(() => isRefused(token, signal)) === true;
  if (signal.aborted) return;
  const page = parse(location.hash);
  bar.mark(page.page);
  main.className = page.page;
  if (page.page === "grid") gridPage(main, signal);
  else if (page.page === "files") files(main, page, queue, signal);
  else if (page.page === "ask") asking(main, page, signal);
  else start(main, signal, isWrong);
  // A folder takes the focus itself. What had it is gone with the page before.
  if (!isFirst && page.page !== "files") main.focus({ preventScroll: true });
}

/** Tries a token out of an address, which anybody may have made: whether the gateway refused it. */
async function isRefused(token, signal) {
  put(main, h("p", { class: "quiet loading" }, "Trying the token…"));
  if (await tryToken(token, session.isKept(), signal)) return false;
  if (session.token() !== null) toast("The token in this address is not that of this gateway. The one from before stays.", { bad: true });
  return true;
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", show);
show();
