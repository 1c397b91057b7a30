// Elements without markup: every text from a server or a person goes in as text, and can't become anything else.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element: its class, and what is in it, elements or texts. */
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** An SVG element with attributes and children. */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Puts a text where it differs: a live region is then read out for changes alone, and what is selected stays so. */
export function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Shows a text, or hides the element where there is none. */
export function say(target, text) {
  write(target, text);
  target.hidden = !text;
}

const drawn = new WeakMap(); // by element, what it shows

/** Calls `draw` unless `target` shows it already: `shown` is all that the drawing depends on, as values for JSON. */
export function redraw(target, shown, draw) {
  const now = JSON.stringify(shown);
  if (drawn.get(target) === now) return;
  draw();
  drawn.set(target, now);
}

/** A table from texts and elements; `numeric` says which columns align to the right. */
export function table(heads, rows, numeric) {
  const cell = (tag, content, column) => element(tag, numeric[column] ? "number" : "", content);
  const head = element("tr", "", ...heads.map((text, column) => cell("th", text, column)));
  const body = rows.map((row) => element("tr", "", ...row.map((content, column) => cell("td", content, column))));
  return element("table", "", element("thead", "", head), element("tbody", "", ...body));
}

export function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

export function signed(value, digits) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
}

/** A time in the unit that reads best. */
export function duration(seconds) {
  if (seconds === null) return "–";
  const [value, unit] = seconds < 1e-3 ? [seconds * 1e6, "µs"] : seconds < 1 ? [seconds * 1e3, "ms"] : [seconds, "s"];
  return `${value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export function dollars(value) {
  return `$${value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 1 || !value ? 2 : 4)}`;
}

export function sum(values) {
  return values.reduce((total, value) => total + value, 0);
}
