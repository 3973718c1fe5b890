// The latest records, asked for again and again.
import { api, el, format, named, showState, visible, write } from "./common.js";

const EVERY = 2000;
const body = document.getElementById("table").tBodies[0];
const rows = new Map();

function row(record) {
  const id = el("a", { href: `/v1/votes/${encodeURIComponent(record.id)}`, title: record.id }, record.id.slice(-12));
  const time = el("time", { datetime: new Date(record.cast_at).toISOString() }, format.clock(record.cast_at));
  return el("tr", { role: "row" },
    el("td", { role: "cell", class: "n" }, time),
    el("th", { role: "rowheader", scope: "row" }, named(record.name)),
    el("td", { role: "cell" }, named(record.album)),
    el("td", { role: "cell", class: "n" }, String(record.year)),
    el("td", { role: "cell", class: "n" }, String(record.rank)),
    el("td", { role: "cell", class: "id" }, id));
}

function show(records) {
  const ids = new Set(records.map((record) => record.id));
  for (const [id, old] of rows) {
    if (ids.has(id)) continue;
    old.remove();
    rows.delete(id);
  }
  records.forEach((record, index) => {
    if (!rows.has(record.id)) rows.set(record.id, row(record));
    const element = rows.get(record.id);
    if (body.rows[index] !== element) body.insertBefore(element, body.rows[index] ?? null);
  });
  document.getElementById("empty").hidden = records.length > 0;
}

async function refresh() {
  try {
    const answer = await fetch(`${api}/records?limit=50`, { signal: AbortSignal.timeout(10_000) });
    if (!answer.ok) throw new Error(String(answer.status));
    show((await answer.json()).records);
    showState("live");
  } catch {
    showState("reconnecting");
  }
}

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, EVERY);
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());
loop();
