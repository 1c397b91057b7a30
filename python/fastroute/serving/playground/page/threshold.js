// The slider: what another threshold would do to this prompt, and would have done to the last hour.

import { scoreHistogram } from "./charts.js";
import { byId, element, percent, redraw, sum, write } from "./dom.js";

/**
 * How many requests have a score of at least `threshold`: the least and the most. They differ where the threshold is
 * within a bin that holds scores, never where it is one of the slider's steps.
 */
function countAbove(scores, threshold) {
  const place = threshold * (scores.length - 1);
  const first = Math.abs(place - Math.round(place)) < 1e-6 ? Math.round(place) : place;
  return [Math.ceil(first), Math.floor(first)].map((bin) => sum(scores.slice(bin)));
}

/** As few digits as say it: what was set by hand is short, an artifact's own threshold is not. */
function written(threshold, digits = 6) {
  return String(Number(threshold.toFixed(digits)));
}

/** A score beside a threshold, with as many digits as it takes for the figures to compare as the values do. */
function compared(score, threshold) {
  const above = score >= threshold;
  for (let digits = 4; ; digits += 1) {
    const sides = [score.toFixed(digits), written(threshold, Math.max(6, digits))];
    if (digits === 100 || Number(sides[0]) >= Number(sides[1]) === above) return sides.join(above ? " ≥ " : " < ");
  }
}

/** The span of all scores and of the threshold in force, with room at its ends; and further, where `others` are. */
function spanOf(scores, inForce, others) {
  const bins = scores.length - 1;
  const places = [inForce];
  scores.forEach((count, bin) => count && places.push(bin / bins));
  const low = Math.min(Math.min(...places) - 0.02, ...others);
  const high = Math.max(Math.max(...places) + 0.02, ...others);
  // The little that is added keeps an end that is one of the steps where it is.
  return [Math.max(0, Math.floor(low * 50 + 1e-6) / 50), Math.min(1, Math.ceil(high * 50 - 1e-6) / 50)];
}

/** Shows all that depends on the threshold. `said` is what the router says of the prompt, if there is one. */
export function showThreshold({ router, said, threshold, zoomed, styleOf }) {
  const slider = byId("slider");
  const own = said && typeof said.score === "number" ? said.score : null;
  const domain =
    zoomed && sum(router.scores)
      ? spanOf(router.scores, router.threshold, own === null ? [threshold] : [threshold, own])
      : [0, 1];
  redraw(slider, [domain, threshold], () => {
    [slider.min, slider.max] = domain;
    slider.value = threshold;
    slider.setAttribute("aria-valuetext", written(threshold));
  });
  const number = byId("number");
  if (number !== document.activeElement) {
    number.value = written(threshold);
    number.removeAttribute("aria-invalid");
  }
  byId("reset").disabled = threshold === router.threshold;
  write(byId("as-model"), `router-${router.label}-${written(threshold)}`);
  write(byId("as-yaml"), `threshold: ${written(threshold)}`);
  showChoice(router, own, threshold, styleOf);
  showShare(router, threshold);
  scoreHistogram(byId("histogram"), {
    title: `Scores of the last hour, router ${router.label}`,
    description: `A histogram of ${sum(router.scores)} scores from 0 to 1, with the threshold ${written(threshold)}.`,
    scores: router.scores,
    domain,
    threshold,
    own,
    styles: [styleOf(router.strong), styleOf(router.weak)],
  });
}

function showChoice(router, own, threshold, styleOf) {
  const output = byId("choice");
  if (own === null) {
    redraw(output, null, () => output.replaceChildren());
    return;
  }
  const model = own >= threshold ? router.strong : router.weak;
  const [said, style] = [`▼ this prompt ${compared(own, threshold)} → `, `model ${styleOf(model)}`];
  redraw(output, [said, style, model], () => output.replaceChildren(said, element("span", style, model)));
}

function showShare(router, threshold) {
  const scored = sum(router.scores);
  const share = byId("share");
  if (!scored) {
    const none = `Router ${router.label} has scored no request in the last hour: there is no share to show yet.`;
    redraw(share, none, () => share.replaceChildren(none));
    return;
  }
  const [least, most] = countAbove(router.scores, threshold);
  const span = (format) => (least === most ? format(least) : `${format(least)} to ${format(most)}`);
  const all = sum(Object.values(router.requests).map(sum));
  const strong = sum(router.requests[router.strong] || []);
  const number = (count) => count.toLocaleString("en");
  const lead = `${span((count) => percent(count / scored))} for ${router.strong}`;
  const more =
    ` at this threshold: ${span(number)} of the ${number(scored)} requests scored in the last hour. ` +
    `It got ${number(strong)} of ${number(all)}, ${percent(strong / all)}.`;
  redraw(share, [lead, more], () => share.replaceChildren(element("b", "", lead), more));
}
