// The page: what is typed goes to the server a moment later, and the last hour is asked for every few seconds.

import { byId, element, say, write } from "./dom.js";
import { showRouters, showWhy } from "./routers.js";
import { lastHour, scoresOf, useKey } from "./server.js";
import { showThreshold } from "./threshold.js";
import { showTraffic } from "./traffic.js";

const REFRESH = 3000; // milliseconds
const RETRY = 1500;
const PAUSE = 150; // of typing
const COLOURS = 7;

const EXAMPLES = [
  ["a fact", "What is the capital of France?"],
  ["a proof", "Prove that the square root of 2 is irrational, and say which step fails for 4."],
  ["some code", "Write a thread-safe LRU cache in Rust without unsafe, and explain why it cannot deadlock."],
];

const state = {
  hour: null, // the last answer
  said: new Map(), // by label, what a router says of the prompt
  selected: null, // label of the router that is looked at
  moved: new Map(), // by label, a threshold that is not the one in force
  zoomed: true, // scores are often close together
  asking: null, // the AbortController of the scores that are awaited
  timers: { typing: 0, hour: 0 },
  owed: false, // whether scores are to be asked for once the server answers again
  locked: false,
};

// ---- what is shown

function selectedRouter() {
  return state.hour.routers.find((router) => router.label === state.selected);
}

/** Colours by model: first the pair of the default router, then the others as the configuration has them. */
function styleOf(model) {
  const { routers, models, default_router: label } = state.hour;
  const first = routers.find((router) => router.label === label);
  const order = [...new Set([...(first ? [first.strong, first.weak] : []), ...Object.keys(models)])];
  const place = order.indexOf(model);
  return `series-${place < 0 ? COLOURS : Math.min(place, COLOURS)}`;
}

function thresholdOf(router) {
  return state.moved.has(router.label) ? state.moved.get(router.label) : router.threshold;
}

function showScores() {
  const routers = state.hour.routers.map(({ label, kind, artifact, strong, weak, threshold }) => ({
    ...{ label, kind, artifact, strong, weak, threshold },
    ...state.said.get(label),
  }));
  showRouters(routers, state.selected, styleOf, select);
  showWhy(routers.find((router) => router.label === state.selected));
}

function showDial() {
  const router = selectedRouter();
  if (!router) return;
  const { zoomed } = state;
  showThreshold({ router, said: state.said.get(router.label), threshold: thresholdOf(router), zoomed, styleOf });
}

function showAll() {
  document.querySelectorAll(".selected").forEach((each) => write(each, state.selected ?? "none"));
  document.body.classList.toggle("no-routers", !state.hour.routers.length);
  showScores();
  showDial();
  const router = selectedRouter();
  if (router) showTraffic(state.hour, router, styleOf);
}

function select(label) {
  state.selected = label;
  showAll();
}

function moveTo(threshold) {
  const router = selectedRouter();
  if (!router) return;
  state.moved.set(router.label, threshold);
  showDial();
}

/** Takes a number as it is typed; one that is none, or out of range, is marked, and gone once the field is left. */
function typeThreshold({ target }) {
  const valid = target.value !== "" && target.validity.valid;
  target.setAttribute("aria-invalid", String(!valid));
  if (valid) moveTo(Number(target.value));
}

// ---- the last hour

/** What tells whether the routers are those that the scores on the page are of. */
function identity(hour) {
  return JSON.stringify(
    hour.routers.map(({ label, artifact, strong, weak, threshold }) => [label, artifact, strong, weak, threshold]),
  );
}

function take(hour) {
  const changed = state.hour === null || identity(hour) !== identity(state.hour);
  state.hour = hour;
  const labels = hour.routers.map((router) => router.label);
  if (!labels.includes(state.selected))
    state.selected = labels.includes(hour.default_router) ? hour.default_router : labels[0];
  if (changed) {
    state.said.clear();
    state.moved.clear();
  }
  // Shown before anything is drawn: a chart is as wide as the room that it has.
  byId("main").hidden = false;
  showAll();
  if (changed || state.owed) askScores();
}

async function refresh() {
  clearTimeout(state.timers.hour);
  if (document.hidden || state.locked) return;
  let wait = REFRESH;
  try {
    const hour = await lastHour();
    if (state.locked) return; // meanwhile, by another answer
    take(hour);
    say(byId("trouble"), "");
    stand("live");
  } catch (error) {
    wait = RETRY;
    if (error.kind === undefined) stand("failed");
    else if (error.kind !== "key" && error.kind !== "old key") stand("not connected");
    fail(error, byId("trouble"), " Trying again.");
  } finally {
    if (!state.locked) {
      clearTimeout(state.timers.hour);
      state.timers.hour = setTimeout(refresh, wait);
    }
  }
}

/** Says how it stands with the server. */
function stand(text) {
  write(byId("status"), text);
  document.body.classList.toggle("live", text === "live");
}

/** Says what went wrong; where a key is needed, asks for it. */
function fail(error, target, more) {
  if (error.kind === undefined) {
    say(target, "This page has failed; the browser's console says how.");
    throw error;
  }
  if (error.kind === "key") lock(error.message);
  else if (error.kind !== "old key") say(target, error.message + more);
}

// ---- the prompt

function typed() {
  clearTimeout(state.timers.typing);
  state.timers.typing = setTimeout(askScores, PAUSE);
}

async function askScores() {
  clearTimeout(state.timers.typing);
  state.asking?.abort(); // an answer to what is no longer there is of no use
  state.asking = null;
  state.owed = false;
  if (state.hour === null || state.locked) return; // asked for once it is known which routers there are
  const prompt = byId("prompt").value;
  if (!prompt.trim()) {
    state.said.clear();
    say(byId("prompt-trouble"), "");
    showSaid();
    return;
  }
  const asking = (state.asking = new AbortController());
  try {
    const { routers } = await scoresOf(prompt, asking.signal);
    if (asking !== state.asking) return;
    state.said = new Map(routers.map((router) => [router.label, router]));
    say(byId("prompt-trouble"), "");
    showSaid();
  } catch (error) {
    if (error.name === "AbortError" || asking !== state.asking) return;
    state.owed = error.kind === "gone" || error.kind === "busy";
    const more = state.owed ? " Trying again." : "";
    if (error.kind !== undefined) {
      state.said.clear(); // they are of another prompt
      showSaid();
    }
    fail(error, byId("prompt-trouble"), more);
  }
}

function showSaid() {
  showScores();
  showDial();
}

// ---- the key

function lock(message) {
  state.locked = true;
  clearTimeout(state.timers.typing);
  state.asking?.abort();
  byId("main").hidden = true;
  say(byId("trouble"), "");
  if (message) say(byId("key-trouble"), message);
  stand("locked");
  byId("key-form").hidden = false;
  byId("key").focus();
}

function unlock(event) {
  event.preventDefault();
  const key = byId("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) {
    say(byId("key-trouble"), "A key has ASCII characters only, and no spaces.");
    return;
  }
  byId("key").value = "";
  say(byId("key-trouble"), "");
  useKey(key);
  state.locked = false;
  byId("key-form").hidden = true;
  refresh();
  askScores();
}

// ---- wiring

async function copy(button) {
  const source = byId(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "copied";
  } catch {
    // No clipboard without TLS but on this machine: the text is selected, to be copied by hand.
    getSelection().selectAllChildren(source);
    button.textContent = "selected";
  }
  setTimeout(() => (button.textContent = "copy"), 1500);
}

function example([name, prompt]) {
  const button = element("button", "", name);
  button.type = "button";
  button.title = prompt;
  button.addEventListener("click", () => {
    byId("prompt").value = prompt;
    askScores();
  });
  return button;
}

function start() {
  byId("examples").append("for example ", ...EXAMPLES.map(example));
  byId("prompt").addEventListener("input", typed);
  byId("slider").addEventListener("input", (event) => moveTo(Number(event.target.value)));
  byId("number").addEventListener("input", typeThreshold);
  byId("number").addEventListener("blur", showDial);
  byId("zoom").checked = state.zoomed;
  byId("zoom").addEventListener("change", (event) => {
    state.zoomed = event.target.checked;
    showDial();
  });
  byId("reset").addEventListener("click", () => {
    state.moved.delete(state.selected);
    showDial();
  });
  byId("key-form").addEventListener("submit", unlock);
  document.querySelectorAll("[data-copies]").forEach((each) => each.addEventListener("click", () => copy(each)));
  document.addEventListener("visibilitychange", refresh);
  let width = 0;
  new ResizeObserver(() => {
    if (state.hour && !byId("main").hidden && width !== innerWidth) showAll();
    width = innerWidth;
  }).observe(document.body);
  refresh();
}

start();
