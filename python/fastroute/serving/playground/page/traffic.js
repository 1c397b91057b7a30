// The last hour as figures and charts.

import { addedUp, stackedMinutes, timeLines } from "./charts.js";
import { byId, dollars, duration, element, percent, redraw, sum, table } from "./dom.js";

const addMinutes = (all) => all.reduce((total, each) => total.map((value, at) => value + each[at]));

/** Requests a minute of each model, over all routers and those that clients chose: [[model, values]]. */
function byModel(hour, styleOf) {
  const found = new Map();
  const parts = [hour.direct, ...hour.routers.map((router) => router.requests)];
  for (const [model, values] of parts.flatMap(Object.entries)) {
    found.set(model, found.has(model) ? addMinutes([found.get(model), values]) : values);
  }
  return [...found].sort(([a], [b]) => styleOf(a).localeCompare(styleOf(b)));
}

export function showTraffic(hour, router, styleOf) {
  const requests = byModel(hour, styleOf);
  const total = sum(requests.map(([, values]) => sum(values)));
  byId("no-traffic").hidden = total > 0;
  byId("traffic").hidden = total === 0;
  if (!total) return;
  showFigures(hour, total);
  showRequests(requests, total, styleOf);
  showLatency(router);
  showDollars(hour);
  showModels(hour, new Map(requests), total, styleOf);
}

function showFigures(hour, total) {
  const over = (name) => sum(hour.routers.map((router) => sum(router[name])));
  const strong = sum(hour.routers.map((router) => sum(router.requests[router.strong] || [])));
  const routed = sum(hour.routers.map((router) => sum(Object.values(router.requests).map(sum))));
  const figures = [
    ["requests", total.toLocaleString("en")],
    ["to a strong model", routed ? percent(strong / routed) : "–"],
    ["saved", dollars(over("dollars"))],
    ["fallbacks", over("fallbacks").toLocaleString("en")],
    ["routing failures", over("failures").toLocaleString("en")],
    ["by session", over("sticky").toLocaleString("en")],
  ];
  const target = byId("figures");
  const shown = ([name, value]) => element("div", "", element("dt", "", name), element("dd", "", value));
  redraw(target, figures, () => target.replaceChildren(...figures.map(shown)));
}

function showRequests(requests, total, styleOf) {
  const series = requests.map(([name, values]) => ({ name, style: styleOf(name), values }));
  stackedMinutes(byId("requests"), {
    title: "Requests a minute, by model",
    description: `Stacked bars for the last 60 minutes, ${total} requests: ${requests
      .map(([name, values]) => `${name} ${sum(values)}`)
      .join(", ")}.`,
    series,
  });
}

/** What is said in place of a chart. */
function note(target, text) {
  redraw(target, text, () => target.replaceChildren(element("p", "note", text)));
}

function showLatency(router) {
  const { count, p50, p99 } = router.seconds;
  const target = byId("latency");
  if (!count) {
    note(target, `Router ${router.label} has decided nothing in the last hour.`);
    return;
  }
  timeLines(target, {
    title: `Time of a decision, router ${router.label}`,
    description: `Median ${duration(p50)}, 99th percentile ${duration(p99)} over ${count} decisions of the last hour.`,
    series: [
      { name: `p50, ${duration(p50)} overall`, style: "plain", values: router.seconds.p50_by_minute },
      { name: `p99, ${duration(p99)} overall`, style: "plain dashed", values: router.seconds.p99_by_minute },
    ],
  });
}

function showDollars(hour) {
  const values = addMinutes(hour.routers.map((router) => router.dollars));
  const total = sum(values);
  const target = byId("dollars");
  if (!total) {
    note(target, "None yet: it takes answers of a cheaper model that say their usage, and a price for both models.");
    return;
  }
  addedUp(target, {
    title: "Dollars saved, added up",
    description: `${dollars(total)} in the last 60 minutes, against the strong model's price.`,
    values,
    format: (value, step) => `$${value.toFixed(Math.max(0, Math.ceil(-Math.log10(step))))}`,
  });
}

function showModels(hour, requests, total, styleOf) {
  const shown = Object.entries(hour.models).map(([name, { p50, p99 }]) => {
    const count = sum(requests.get(name) || []);
    return [name, styleOf(name), count.toLocaleString("en"), percent(count / total), duration(p50), duration(p99)];
  });
  const heads = ["model", "requests", "share", "p50", "p99"];
  const named = (name, style) => element("span", "named", element("span", `swatch ${style}`), name);
  const target = byId("models");
  redraw(target, shown, () => {
    const rows = shown.map(([name, style, ...figures]) => [named(name, style), ...figures]);
    target.replaceChildren(
      table(heads, rows, [false, true, true, true, true]),
      element("p", "note", "Times are those to the first byte of a stream, or the last of another answer."),
    );
  });
}
