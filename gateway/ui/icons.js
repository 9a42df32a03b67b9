// Pictures for things and deeds: strokes on 24 by 24.

import { s } from "./dom.js";

const PATHS = {
  folder: "M3 6.5a1.5 1.5 0 0 1 1.5-1.5h4.6l2 2.5h8.4A1.5 1.5 0 0 1 21 9v8.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5z",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  image: "M4 5h16v14H4zM4 16l4.5-4.5 3.5 3.5 3-3 5 5M9 9.5h.01",
  audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  video: "M3 6h12v12H3zM15 10.5l6-3.5v10l-6-3.5z",
  text: "M6 3h8l5 5v13H6zM14 3v5h5M9 13h7M9 16.5h7M9 9.5h2",
  pdf: "M6 3h8l5 5v13H6zM14 3v5h5M9 17v-5h1.5a1.5 1.5 0 0 1 0 3H9M15 17v-5",
  archive: "M4 4h16v5H4zM5 9v11h14V9M10 13h4",
  mutable: "M4 20l1-4L16 5l3 3L8 19zM13.5 7.5l3 3",
  unknown: "M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 17h.01",
  upload: "M12 16V4M7 9l5-5 5 5M4 15v5h16v-5",
  download: "M12 4v12M7 11l5 5 5-5M4 17v3h16v-3",
  plus: "M12 5v14M5 12h14",
  share: "M7.5 12a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM20.5 6a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM20.5 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM7.3 11l8.4-4M7.3 13l8.4 4",
  move: "M3 6.5A1.5 1.5 0 0 1 4.5 5h4.6l2 2.5h8.4A1.5 1.5 0 0 1 21 9v8.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5zM8 13.5h7M12.5 11l2.5 2.5-2.5 2.5",
  copy: "M8 8h12v12H8zM16 8V4H4v12h4",
  rename: "M4 20h16M5 16l1-4 9-9 3 3-9 9z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  map: "M12 14.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM12 9.5V4M12 20v-5.5M9.7 11L4.5 8.5M14.3 11l5.2-2.5M10 13.5L5.5 17M14 13.5l4.5 3.5",
  health: "M3 12h4l2.5-6 5 12 2.5-6h4",
  search: "M10.5 17a6.5 6.5 0 1 1 0-13 6.5 6.5 0 0 1 0 13zM15.5 15.5L21 21",
  close: "M6 6l12 12M18 6L6 18",
  more: "M12 5.5h.01M12 12h.01M12 18.5h.01",
  pause: "M8 5v14M16 5v14",
  play: "M7 4.5l12 7.5-12 7.5z",
  retry: "M4 12a8 8 0 1 1 2.5 5.8M4 20v-5h5",
  check: "M4.5 12.5l5 5 10-11",
  warn: "M12 4l9.5 16h-19zM12 10v4.5M12 17.5h.01",
  server: "M4 5h16v6H4zM4 13h16v6H4zM7.5 8h.01M7.5 16h.01",
  theme: "M12 4a8 8 0 1 0 8 8 6 6 0 0 1-8-8z",
  up: "M12 19V5M6 11l6-6 6 6",
  down: "M12 5v14M6 13l6 6 6-6",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  key: "M14.5 4a5.5 5.5 0 1 1-4.2 9L9 14.5H7V17H4.5v2.5H2V17l6.8-6.8A5.5 5.5 0 0 1 14.5 4zM16 8h.01",
  eye: "M2 12s3.5-6.5 10-6.5S22 12 22 12s-3.5 6.5-10 6.5S2 12 2 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  link: "M10 14a4 4 0 0 0 5.7 0l3.5-3.5a4 4 0 0 0-5.7-5.7L12 6.3M14 10a4 4 0 0 0-5.7 0l-3.5 3.5a4 4 0 0 0 5.7 5.7L12 17.7",
  undo: "M4 9h10a5.5 5.5 0 0 1 0 11H8M8 4.5L3.5 9 8 13.5",
};

/** A picture beside a text that says the same, so readers of screens skip it. */
export function icon(name) {
  return s("svg", { class: `icon icon-${name}`, viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" },
    s("path", { d: PATHS[name] ?? PATHS.unknown }));
}
