// Keys of the list beyond moving about: the usual ones.

const TYPING_ENDS = 800;

/** Gives what handles a key: `press` says whether it was one of ours, `isTyping` whether a name is being typed. */
export function keys(folder, selection, can, list) {
  const byKey = {
    Delete: () => chosen(can.remove),
    F2: () => chosen(can.rename),
    Backspace: () => folder.up(),
    Escape: () => selection.clear(),
    "/": () => document.getElementById("search")?.focus(),
    "?": () => document.getElementById("help")?.click(),
  };
  let typed = "";
  let last = -TYPING_ENDS;

  function chosen(deed) {
    const entries = can.chosen();
    if (entries.length > 0) deed(entries);
  }

  /** Letters go to the next name that begins with them. */
  function jump(letter) {
    const now = performance.now();
    typed = now - last < TYPING_ENDS ? typed + letter : letter;
    last = now;
    const { shown } = folder.listing;
    const from = Math.max(0, selection.at(shown) + (typed.length === 1 ? 1 : 0));
    const begins = (entry) => entry.name.toLowerCase().startsWith(typed);
    let index = shown.findIndex((entry, i) => i >= from && begins(entry));
    if (index < 0) index = shown.findIndex(begins);
    if (index < 0) return;
    selection.only(shown, index);
    list().reveal(index);
  }

  const isTyping = () => performance.now() - last < TYPING_ENDS;

  function press(event) {
    if (event.altKey && event.key === "ArrowUp") folder.up();
    else if (event.ctrlKey || event.metaKey || event.altKey) return false;
    else if (byKey[event.key] && !(isTyping() && event.key === "/")) byKey[event.key]();
    else if (event.key.length === 1 && (event.key !== " " || isTyping())) jump(event.key.toLowerCase());
    else return false;
    return true;
  }
  return { press, isTyping };
}
