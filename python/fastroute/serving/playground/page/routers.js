// What each router says of the prompt, and why.

import { byId, duration, element, percent, redraw, signed, svg, table } from "./dom.js";

/** Routers, the highest score first; those that failed, or have not been asked, as the configuration has them. */
function sorted(routers) {
  const place = (each) => (each.score === null || each.score === undefined ? -1 : each.score);
  return [...routers].sort((a, b) => place(b) - place(a));
}

/** The list; `pick` is called with the label that is chosen to be looked at. */
export function showRouters(routers, selected, styleOf, pick) {
  const list = byId("routers");
  const shown = routers.map((each) => ({ ...each, explanation: undefined, style: each.model && styleOf(each.model) }));
  redraw(list, [shown, selected], () => {
    if (!routers.length) {
      list.replaceChildren(element("p", "note", "This configuration has no routers: there is nothing to score."));
      return;
    }
    const focused = list.contains(document.activeElement);
    list.replaceChildren(...sorted(shown).map((each) => row(each, each.label === selected, pick)));
    if (focused) list.querySelector("input:checked")?.focus();
  });
}

function row(router, isSelected, pick) {
  const radio = element("input");
  radio.type = "radio";
  radio.name = "router";
  radio.value = router.label;
  radio.checked = isSelected;
  radio.addEventListener("change", () => pick(router.label));
  const made = element("label", isSelected ? "router selected-router" : "router", radio);
  made.dataset.label = router.label;
  made.title = `${router.kind} · ${router.strong} or ${router.weak} · artifact ${router.artifact}`;
  made.append(element("span", "label", router.label));
  made.append(element("span", "kind", router.kind === router.label ? "" : router.kind));
  if (router.error) {
    made.append(element("span", "error", router.error));
    return made;
  }
  if (router.score === undefined) {
    made.append(scoreBar(null, router.threshold, ""), element("span", "score", "–"), element("span", "time", ""));
    return made;
  }
  made.append(
    element("span", `model ${router.style}`, router.model),
    scoreBar(router.score, router.threshold, router.style),
    element("span", "score", router.score.toFixed(4)),
    element("span", "time", duration(router.microseconds / 1e6)),
  );
  return made;
}

function scoreBar(score, threshold, style) {
  const said = score === null ? "no score yet" : `score ${score.toFixed(4)}`;
  const title = `${said}, threshold ${threshold.toFixed(4)}`;
  const root = svg("svg", { class: "score-bar", viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img" });
  root.append(svg("title", {}, title), svg("rect", { class: "track", x: 0, y: 2, width: 100, height: 6 }));
  if (score !== null) root.append(svg("rect", { class: style, x: 0, y: 2, width: 100 * score, height: 6 }));
  root.append(svg("line", { class: "threshold", x1: 100 * threshold, x2: 100 * threshold, y1: 0, y2: 10 }));
  return root;
}

/** Why the selected router gave its score. */
export function showWhy(router) {
  const { kind, score, error, explanation } = router ?? {};
  const target = byId("explanation");
  redraw(target, [kind, score, error, explanation], () => target.replaceChildren(...why(router)));
}

function why(router) {
  if (!router || router.score === undefined) return [element("p", "note", "Type a prompt to see.")];
  if (router.error) return [element("p", "error", `This router gave no score: ${router.error}`)];
  const found = router.explanation;
  if (found === null) {
    return [element("p", "note", `A router of kind ${router.kind} can't say: its score has no parts to show.`)];
  }
  return EXPLAINED[found.kind](found, router);
}

const EXPLAINED = {
  battles: ofBattles,
  neighbours: ofNeighbours,
  domains: ofDomains,
  cascade: ofCascade,
  text: (found) => [element("p", "note", found.text)],
};

function ofBattles(found) {
  const lead =
    `Win rate ${found.score.toFixed(4)} with near battles weighing most, ${found.global_score.toFixed(4)} with all ` +
    `alike. The nearest battles, of ${found.prompts.toLocaleString("en")} prompts:`;
  const rows = found.battles.map((battle) => [
    battle.similarity.toFixed(3),
    battle.weight.toPrecision(3),
    battleInWords(battle),
    element("span", "prompt", battle.prompt),
  ]);
  const shown = table(["similar", "weight", "battle", "on prompt"], rows, [true, true, false, false]);
  return [element("p", "", lead), shown, ...noteOn(found.battles)];
}

function battleInWords(battle) {
  const name = (text) => element("b", "", text);
  const said = element("span", "");
  if (battle.winner === "tie") {
    said.append(name(battle.model_a), " tied with ", name(battle.model_b));
    return said;
  }
  const first = battle.winner === "model_a";
  const [winner, loser] = first ? [battle.model_a, battle.model_b] : [battle.model_b, battle.model_a];
  const clear = Math.max(battle.outcome, 1 - battle.outcome);
  said.append(name(winner), " beat ", name(loser), clear < 1 ? ` (${percent(clear)})` : "");
  return said;
}

function ofNeighbours(found) {
  const error = found.standard_error === null ? "" : ` ± ${found.standard_error.toFixed(4)}`;
  const verdict = found.trusted ? "beyond chance" : "not beyond chance";
  const lead =
    `The strong model gained ${signed(found.gain, 4)}${error} on ${found.neighbours.toLocaleString("en")} near ` +
    `prompts, ${signed(found.global_gain, 4)} on all: ${verdict}. The nearest:`;
  const rows = found.nearest.map((near) => [
    near.similarity.toFixed(3),
    near.weight.toPrecision(3),
    near.strong.toFixed(2),
    near.weak.toFixed(2),
    element("span", "prompt", near.prompt),
  ]);
  const heads = ["similar", "weight", "strong", "weak", "prompt"];
  return [element("p", "", lead), table(heads, rows, [true, true, true, true, false]), ...noteOn(found.nearest)];
}

/** Says why there is no text to read, where an artifact has keys in place of its prompts. */
function noteOn(near) {
  const known = near.length && near.every(({ prompt }) => /^[0-9a-f]{16}$/.test(prompt));
  return known
    ? [element("p", "note", "This artifact knows its prompts by key; one that keeps texts shows them.")]
    : [];
}

function ofDomains(found) {
  const lead =
    `The strong model is expected to gain ${signed(found.gain, 4)}: by the domains that the prompt is like, and by ` +
    `its features.`;
  const domains = found.domains.map((each) => [percent(each.weight), signed(each.gain, 4), each.domain]);
  const features = found.features.map((each) => [
    signed(each.effect, 4),
    each.value === null ? "its words" : `${each.feature.replaceAll("_", " ")} = ${Number(each.value.toPrecision(3))}`,
  ]);
  const both = element("div", "side-by-side");
  both.append(table(["weight", "gain", "domain"], domains, [true, true, false]));
  both.append(table(["effect", "feature"], features, [true, false]));
  return [element("p", "", lead), both];
}

function ofCascade(found) {
  const decides =
    found.second === null ? "the first router decides" : `the second is asked: ${found.second.toFixed(4)}`;
  const bounds = `${found.low.toFixed(4)} to ${found.high.toFixed(4)}`;
  const first = `The first router's score ${found.first.toFixed(4)} leaves ${bounds}`;
  return [element("p", "", `${first}; at ${found.threshold.toFixed(4)} ${decides}.`)];
}
