// Begins here: takes secrets out of the address, then shows the page that it names.

import { parse, takeSecrets } from "./router.js";
import { topbar } from "./topbar.js";
import { start } from "./start.js";
import { files } from "./files.js";
import { gridPage } from "./gridpage.js";
import { Queue } from "./upload/queue.js";
import { panel } from "./upload/panel.js";

const main = document.getElementById("main");
const bar = topbar(document.getElementById("top"));
const queue = new Queue();
document.body.append(panel(queue));
let shown = null;

function show() {
  if (location.hash === "#main") return;
  takeSecrets();
  const isFirst = shown === null;
  shown?.abort();
  shown = new AbortController();
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  const page = parse(location.hash);
  bar.mark(page.page);
  main.className = page.page;
  if (page.page === "grid") gridPage(main, shown.signal);
  else if (page.page === "files") files(main, page, queue, shown.signal);
  else start(main, shown.signal);
  // A folder takes the focus itself. What had it is gone with the page before.
  if (!isFirst && page.page !== "files") main.focus({ preventScroll: true });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", show);
show();
