/** Elements of the page. Text is only ever set as text: what comes from outside is never markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag such as `p`, or `p.quiet.small` with classes
 * @param {Object<string, any>} [given] attributes; `on` holds listeners, `data` data attributes; null and false are left out
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function element(tag, given = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = document.createElement(name);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") for (const [event, heard] of Object.entries(value)) made.addEventListener(event, heard);
    else if (key === "data") Object.assign(made.dataset, value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(asNode));
  return made;
}

/** @param {Node | string | number} child */
function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/**
 * A drawing of 24 x 24, coloured as the text beside it, hidden from screen readers.
 * @param {string[]} paths of `d`; one that begins with `!` is filled
 * @returns {SVGElement}
 */
export function drawing(paths) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "drawing");
  svg.setAttribute("aria-hidden", "true");
  for (const d of paths) {
    const path = document.createElementNS(SVG, "path");
    const filled = d.startsWith("!");
    path.setAttribute("d", filled ? d.slice(1) : d);
    path.setAttribute("class", filled ? "filled" : "line");
    svg.append(path);
  }
  return svg;
}

/**
 * A part of a drawing; classes of the style sheet colour it.
 * @param {string} name such as `path` @param {Object<string, string | number>} given attributes @param {...Node} children
 * @returns {SVGElement}
 */
export function shape(name, given, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(given)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/**
 * Set a text only where it is another, so that nothing is laid out or read out for nothing.
 * @param {Node} node
 * @param {string} text
 */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Put these in place of what is in a node.
 * @param {Element} node
 * @param {...(Node | string | null | false)} children
 */
export function fill(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null && child !== false && child !== undefined));
}

/**
 * A button. @param {string} label @param {() => void} act @param {Object<string, any>} [given]
 * @returns {HTMLButtonElement}
 */
export function button(label, act, given = {}) {
  const { kind = "", ...rest } = given;
  return /** @type {HTMLButtonElement} */ (
    element("button", { type: "button", class: kind, on: { click: act }, ...rest }, label)
  );
}

/**
 * A section with a heading. @param {string} title @param {Object<string, any>} [given] @param {...any} children
 * @returns {HTMLElement}
 */
export function panel(title, given = {}, ...children) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  const { kind = "", ...rest } = given;
  return element("section", { class: `panel ${kind}`, "aria-labelledby": id, ...rest }, element("h2", { id }, title), ...children);
}

/** Facts as a list of terms. @param {Array<[string, any] | null | false>} facts */
export function factList(facts) {
  const rows = facts.filter(Boolean).map((fact) => element("div", {}, element("dt", {}, fact[0]), element("dd", {}, fact[1])));
  return element("dl.facts", {}, ...rows);
}
