// What the page asks of its own server, and of no other.

const SLOT = "fastroute-client-key";

/** What can go wrong: `kind` is "key", "gone", "busy" or "refused". */
export class Trouble extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

let key = sessionStorage.getItem(SLOT);

export function useKey(text) {
  key = text;
  sessionStorage.setItem(SLOT, text);
}

function forgetKey() {
  key = null;
  sessionStorage.removeItem(SLOT);
}

async function messageOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `status ${response.status}`;
  }
}

async function troubleOf(response) {
  if (response.status === 401) {
    const known = key !== null;
    forgetKey();
    return new Trouble("key", known ? "The server does not know this key." : "");
  }
  if (response.status === 404) return new Trouble("gone", "The playground is switched off on this server.");
  const message = await messageOf(response);
  if (response.status >= 500) return new Trouble("busy", `The server is busy or failing: ${message}.`);
  return new Trouble("refused", `The server refuses this: ${message}.`);
}

async function ask(path, options) {
  const headers = { "content-type": "application/json" };
  if (key !== null) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (response.ok) return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("gone", "The server can't be reached.");
  }
  throw await troubleOf(response);
}

export function lastHour() {
  return ask("/playground/hour", {});
}

export function scoresOf(prompt, signal) {
  return ask("/playground/scores", { method: "POST", body: JSON.stringify({ prompt }), signal });
}
