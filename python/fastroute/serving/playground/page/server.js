// What the page asks of its own server, and of no other.

const SLOT = "fastroute-client-key";

/** What can go wrong: `kind` is "key", "old key", "gone", "busy" or "refused". */
export class Trouble extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** What the tab remembers; where the browser lets it remember nothing, a key lasts until the page is left. */
function remembered(act) {
  try {
    return act(sessionStorage);
  } catch {
    return null;
  }
}

/** A key is an object: one that is entered again is another than the one that was refused. */
const keyOf = (text) => (text === null ? null : { text });
let key = keyOf(remembered((storage) => storage.getItem(SLOT)));

export function useKey(text) {
  key = keyOf(text);
  remembered((storage) => storage.setItem(SLOT, text));
}

function forgetKey() {
  key = null;
  remembered((storage) => storage.removeItem(SLOT));
}

async function messageOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `status ${response.status}`;
  }
}

async function troubleOf(response, sent) {
  if (response.status === 401) {
    if (sent !== key) return new Trouble("old key", "This was asked with another key.");
    forgetKey();
    return new Trouble("key", sent === null ? "" : "The server does not know this key.");
  }
  if (response.status === 404) return new Trouble("gone", "The playground is switched off on this server.");
  const message = await messageOf(response);
  if (response.status >= 500) return new Trouble("busy", `The server is busy or failing: ${message}.`);
  return new Trouble("refused", `The server refuses this: ${message}.`);
}

async function ask(path, options) {
  const headers = { "content-type": "application/json" };
  const sent = key; // another may be in use by the time of the answer
  if (sent !== null) headers.authorization = `Bearer ${sent.text}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (response.ok) return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("gone", "The server can't be reached.");
  }
  throw await troubleOf(response, sent);
}

export function lastHour() {
  return ask("/playground/hour", {});
}

export function scoresOf(prompt, signal) {
  return ask("/playground/scores", { method: "POST", body: JSON.stringify({ prompt }), signal });
}
