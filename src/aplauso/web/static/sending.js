// Sends a ballot until its fate is known. The same ballot keeps its Idempotency-Key, over errors, retries
// and reloads, so that it counts once; another ballot, or the same after a receipt, gets a new one.
import { config } from "./common.js";

const PLACE = `aplauso.ballot.${config.contest}`;
const ATTEMPTS = 8;
const TIMEOUT = 15_000;

/** A random UUID (RFC 9562, version 4). `crypto.randomUUID` is there in secure contexts only. */
function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

let current = recall();

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null;
  }
}

function remember(value) {
  current = value;
  try {
    if (value) sessionStorage.setItem(PLACE, JSON.stringify(value));
    else sessionStorage.removeItem(PLACE);
  } catch {
    // Without storage a reload forgets the ballot; the page itself still has it.
  }
}

/** The ballot that was under way when the page was left, or null. */
export const pending = () => current && JSON.parse(current.body);

async function attempt(url, { key, body }) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  try {
    const signal = AbortSignal.timeout(TIMEOUT);
    const answer = await fetch(url, { method: "POST", headers, body, signal });
    const content = await answer.json().catch(() => ({}));
    return { status: answer.status, after: Number(answer.headers.get("Retry-After")) || 0, content };
  } catch {
    return { status: 0, after: 0, content: {} };
  }
}

const WHY = { 0: "offline", 429: "limit", 502: "undecided", 503: "busy", 504: "undecided" };

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/**
 * Sends a ballot and returns what became of it:
 * {kind: "recorded", id}, {kind: "refused", status, problem, unsure, id} or {kind: "unknown", why}.
 */
export async function settle(url, ballot, { waiting, trying }) {
  const body = JSON.stringify(ballot);
  if (current?.body !== body) remember({ key: uuid(), body, unsure: false, id: null });
  for (let n = 0; ; n++) {
    const { status, after, content } = await attempt(url, current);
    if (status === 201) {
      remember(null);
      return { kind: "recorded", id: content.id };
    }
    const why = WHY[status];
    if (why === undefined) {
      const { unsure, id } = current;
      remember(null);
      return { kind: "refused", status, problem: content, unsure, id };
    }
    // Only a 503 and a 429 say that nothing was recorded.
    if (why === "offline" || why === "undecided") remember({ ...current, unsure: true, id: content.id ?? current.id });
    if (n + 1 === ATTEMPTS) return { kind: "unknown", why };
    const seconds = Math.min(60, Math.max(after, Math.min(15, 2 ** n)));
    waiting({ why, seconds });
    await pause(seconds * (1 + Math.random() / 5));
    trying();
  }
}
