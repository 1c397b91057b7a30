// Charts as inline SVG, drawn at the width that there is, so that their text keeps its size on a phone; and again only
// where what they show or their width is another.

import { element, redraw, svg } from "./dom.js";

const MARGIN = { top: 8, right: 14, bottom: 34, left: 44 };
let made = 0; // so that each chart's title has an id of its own

/** A chart that is drawn where its options are new, or the width that it has. */
function onChange(draw) {
  return (target, options) => redraw(target, [target.clientWidth, options], () => draw(target, options));
}

/** The names of lines or stacks, each with its colour; a dash where the line has one. */
export function legend(series) {
  const items = series.map(({ name, style }) => element("li", "", element("span", `swatch ${style}`), name));
  return element("ul", "legend", ...items);
}

/** About `count` round values from 0 to `most`. */
function roundValues(most, count) {
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const values = [];
  for (let index = 0; index * step < most + step * 0.999; index += 1) values.push(index * step);
  return values;
}

/** About `count` round values between two. */
function roundBetween(low, high, count) {
  const [, step] = roundValues(high - low, count);
  const values = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) values.push(value);
  return values;
}

/** An empty chart: `chart.x(value)` and `chart.y(value)` give places in it. */
function frame(target, { title, description, height, xs, ys, log = false, margin = MARGIN }) {
  const width = Math.max(220, target.clientWidth);
  const id = `chart-${(made += 1)}`;
  const root = svg("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-labelledby": `${id}-title ${id}-desc`,
  });
  root.append(svg("title", { id: `${id}-title` }, title), svg("desc", { id: `${id}-desc` }, description));
  const inner = { left: margin.left, right: width - margin.right, top: margin.top, bottom: height - margin.bottom };
  const along = (value, [low, high]) => (value - low) / (high - low);
  const level = log ? Math.log10 : (value) => value;
  const x = (value) => inner.left + (inner.right - inner.left) * along(value, xs);
  const y = (value) => inner.bottom - (inner.bottom - inner.top) * along(level(value), ys.map(level));
  return { root, inner, x, y };
}

function axisX(chart, ticks, name) {
  const { root, inner, x } = chart;
  root.append(svg("line", { class: "axis", x1: inner.left, x2: inner.right, y1: inner.bottom, y2: inner.bottom }));
  for (const [value, text] of ticks) {
    root.append(svg("text", { class: "tick", x: x(value), y: inner.bottom + 14, "text-anchor": "middle" }, text));
  }
  const middle = (inner.left + inner.right) / 2;
  root.append(svg("text", { class: "name", x: middle, y: inner.bottom + 29, "text-anchor": "middle" }, name));
}

function axisY(chart, ticks) {
  const { root, inner, y } = chart;
  for (const [value, text] of ticks) {
    root.append(svg("line", { class: "grid", x1: inner.left, x2: inner.right, y1: y(value), y2: y(value) }));
    root.append(svg("text", { class: "tick", x: inner.left - 6, y: y(value) + 4, "text-anchor": "end" }, text));
  }
}

function minutesX(chart, minutes) {
  const ago = [60, 45, 30, 15, 0].filter((each) => each <= minutes);
  axisX(
    chart,
    ago.map((each) => [minutes - each, each ? `−${each}` : "now"]),
    "minutes",
  );
}

/** Counts a minute, one series upon the other: [{name, style, values}]. */
export const stackedMinutes = onChange((target, { title, description, series, height = 150 }) => {
  const minutes = series[0].values.length;
  const totals = series[0].values.map((_, minute) => series.reduce((total, each) => total + each.values[minute], 0));
  const ticks = roundValues(Math.max(4, ...totals), 4).filter(Number.isInteger);
  const ys = [0, ticks[ticks.length - 1]];
  const chart = frame(target, { title, description, height, xs: [0, minutes], ys });
  axisY(
    chart,
    ticks.map((each) => [each, String(each)]),
  );
  totals.forEach((total, minute) => {
    if (total) chart.root.append(stack(chart, series, minute, minutes - 1 - minute));
  });
  minutesX(chart, minutes);
  target.replaceChildren(chart.root, legend(series));
});

function stack(chart, series, minute, ago) {
  const group = svg("g", { class: "bar" });
  const said = series.filter((each) => each.values[minute]).map((each) => `${each.name} ${each.values[minute]}`);
  group.append(svg("title", {}, `${ago ? `${ago} min ago` : "this minute"}: ${said.join(", ")}`));
  const left = chart.x(minute);
  const width = Math.max(1, chart.x(minute + 1) - left - 1);
  let below = 0;
  for (const { name, style, values } of series) {
    if (!values[minute]) continue;
    const top = chart.y(below + values[minute]);
    const height = chart.y(below) - top;
    group.append(svg("rect", { class: style, x: left, y: top, width, height, "data-model": name }));
    below += values[minute];
  }
  return group;
}

/** Counts by score over `domain`, coloured by the side of the threshold, with its line and the prompt's own mark. */
export const scoreHistogram = onChange((target, { title, description, scores, domain, threshold, own, styles }) => {
  const bins = scores.length - 1;
  const [low, high] = domain.map((edge) => Math.round(edge * bins));
  const step = Math.max(1, Math.round((high - low) / 200));
  const bars = [];
  for (let first = low; first < high; first += step) {
    // A score of 1 is in a bin of its own, behind the others; it is drawn with the last bar.
    const end = first + step >= bins ? bins + 1 : first + step;
    bars.push([first, scores.slice(first, end).reduce((total, count) => total + count, 0)]);
  }
  const most = Math.max(...bars.map(([, count]) => count));
  const ticks = roundValues(Math.max(4, most), 3).filter(Number.isInteger);
  const ys = [0, ticks[ticks.length - 1]];
  const height = most ? 150 : 70; // without scores there is a line to move, and no empty box
  const chart = frame(target, { title, description, height, xs: [low, high], ys });
  if (most)
    axisY(
      chart,
      ticks.map((each) => [each, String(each)]),
    );
  for (const [first, count] of bars) {
    if (count) chart.root.append(bar(chart, first, step, count, styles[first / bins >= threshold ? 0 : 1]));
  }
  const marks = roundBetween(low, high, Math.max(3, Math.floor(target.clientWidth / 110)));
  axisX(
    chart,
    marks.map((each) => [each, String(Number((each / bins).toFixed(3)))]),
    "score",
  );
  const within = (value) => Math.min(high, Math.max(low, value * bins));
  const { inner } = chart;
  const at = chart.x(within(threshold));
  chart.root.append(svg("line", { class: "threshold", x1: at, x2: at, y1: inner.top - 4, y2: inner.bottom }));
  if (own !== null) {
    const mark = chart.x(within(own));
    const shape = `M${mark} ${inner.bottom} l-5 -9 h10 z`;
    chart.root.append(svg("path", { class: "own", d: shape }, svg("title", {}, `this prompt: ${own.toFixed(4)}`)));
  }
  target.replaceChildren(chart.root);
});

function bar(chart, first, step, count, style) {
  const left = chart.x(first);
  const width = Math.max(1, chart.x(first + step) - left - 0.5);
  const box = { x: left, y: chart.y(count), width, height: chart.inner.bottom - chart.y(count) };
  return svg("rect", { class: `bar ${style}`, ...box, "data-count": count });
}

/** Times a minute on a logarithmic axis, in microseconds: [{name, style, values}], null where there is none. */
export const timeLines = onChange((target, { title, description, series, height = 150 }) => {
  const minutes = series[0].values.length;
  const micros = series.flatMap(({ values }) => values.filter((each) => each !== null).map((each) => each * 1e6));
  const low = Math.floor(Math.log10(Math.min(...micros)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...micros))));
  const chart = frame(target, { title, description, height, xs: [0, minutes], ys: [10 ** low, 10 ** high], log: true });
  const ticks = [];
  for (let power = low; power <= high; power += 1) ticks.push([10 ** power, micro(10 ** power)]);
  axisY(chart, ticks);
  for (const { style, values } of series) {
    chart.root.append(svg("path", { class: `line ${style}`, d: linePath(chart, values) }));
  }
  minutesX(chart, minutes);
  target.replaceChildren(chart.root, legend(series));
});

function micro(value) {
  if (value >= 1e6) return `${value / 1e6} s`;
  return value >= 1e3 ? `${value / 1e3} ms` : `${value} µs`;
}

/** A line that is broken where a minute has no value; a minute alone is a short dash. */
function linePath(chart, values) {
  return values
    .map((value, minute) => {
      if (value === null) return "";
      const y = chart.y(value * 1e6).toFixed(1);
      const from = minute > 0 && values[minute - 1] !== null ? "L" : "M";
      return `${from}${chart.x(minute + 0.2).toFixed(1)} ${y}L${chart.x(minute + 0.8).toFixed(1)} ${y}`;
    })
    .join("");
}

/** What adds up over the hour, as an area. */
export const addedUp = onChange((target, { title, description, values, format, height = 150 }) => {
  let total = 0;
  const totals = values.map((each) => (total += each));
  const ticks = roundValues(total || 1, 4);
  const ys = [0, ticks[ticks.length - 1]];
  const chart = frame(target, { title, description, height, xs: [0, values.length], ys });
  axisY(
    chart,
    ticks.map((each) => [each, format(each, ticks[1])]),
  );
  const { inner, x, y } = chart;
  const line = totals.map((each, minute) => `L${x(minute + 1).toFixed(1)} ${y(each).toFixed(1)}`).join("");
  chart.root.append(svg("path", { class: "area", d: `M${inner.left} ${inner.bottom}${line}V${inner.bottom}z` }));
  chart.root.append(svg("path", { class: "line plain", d: `M${inner.left} ${inner.bottom}${line}` }));
  minutesX(chart, values.length);
  target.replaceChildren(chart.root);
});
