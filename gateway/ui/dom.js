// Elements, made of text and never of markup.

import { plain } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
/** Attributes that people see or hear. */
const SEEN = new Set(["title", "aria-label", "alt", "placeholder"]);

/** Text as a node. What stands in quotes is somebody's name: it has a direction of its own, and does not turn the sentence about. */
function said(text, isSvg) {
  const clean = plain(String(text));
  const parts = clean.split(/(?<=“)([^”]*)(?=”)/);
  if (isSvg || parts.length === 1) return clean;
  const span = document.createElement("span");
  span.append(...parts.map((part, i) => (i % 2 === 0 ? part : h("bdi", null, part))));
  return span;
}

function nodes(children, isSvg) {
  const there = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  return there.map((child) => (child instanceof Node ? child : said(child, isSvg)));
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : SEEN.has(name) ? plain(String(value)) : String(value));
  }
  element.append(...nodes(children, element.namespaceURI === SVG));
  return element;
}

/** An HTML element with attributes, listeners (`onclick`) and children. Strings become text without tricks (`plain`); content of files is a node. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Replaces what an element holds. */
export function put(element, ...children) {
  element.replaceChildren(...nodes(children, element.namespaceURI === SVG));
  return element;
}

/**
 * Replaces what an element holds where `key` says that it changed, and leaves the focus on what is called the same.
 * A button that is replaced while somebody presses it is never clicked.
 */
export function refill(element, key, build) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  const name = (one) => one.getAttribute("aria-label") ?? one.textContent;
  const focused = element.contains(document.activeElement) ? name(document.activeElement) : null;
  put(element, build());
  if (focused !== null) [...element.querySelectorAll("button")].find((one) => name(one) === focused)?.focus();
}

/** Puts the focus on the first thing in here that asks for it. */
export function focusIn(element) {
  (element.querySelector("[autofocus]") ?? element.querySelector("input, button, [tabindex='0']") ?? element).focus();
}

/** Calls at most once in so many milliseconds, and always after the last call. */
export function calmly(milliseconds, call) {
  let timer = 0;
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      call();
    }, milliseconds);
  };
}
