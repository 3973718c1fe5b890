// The ballot: one vote, sent until its fate is known, always under the key that it began with.
import { api, config, el, showWindow, t, write } from "./common.js";
import { pending, settle } from "./sending.js";

const form = document.getElementById("ballot");
const fields = document.getElementById("fields");
const button = document.getElementById("send");
const message = document.getElementById("message");
const NAMES = ["name", "album", "year", "rank"];
const bands = new Map(Object.entries(JSON.parse(form.dataset.bands)));

const read = () => Object.fromEntries(NAMES.map((name) => [name, String(new FormData(form).get(name) ?? "")]));

function fillIn(ballot) {
  for (const name of NAMES) {
    const control = form.elements.namedItem(name);
    if (control instanceof RadioNodeList) control.value = ballot[name];
    else if (control) control.value = ballot[name];
  }
  offerAlbums();
}

const plain = (text) => text.trim().toLowerCase().replace(/\s+/g, " ");

function offerAlbums() {
  const chosen = plain(form.elements.namedItem("name").value);
  const band = [...bands.keys()].find((name) => plain(name) === chosen);
  const options = (bands.get(band) ?? []).map((album) => el("option", { value: album }));
  document.getElementById("albums").replaceChildren(...options);
}

function say(kind, ...content) {
  message.dataset.kind = kind;
  message.replaceChildren(...content);
}

const paragraph = (...content) => el("p", {}, ...content);
const receiptLink = (id) => el("a", { href: `/v1/votes/${encodeURIComponent(id)}`, class: "id" }, id);

function action(text, run) {
  const element = el("button", { type: "button" }, text);
  element.addEventListener("click", run);
  return element;
}

// The server's reasons are in English; the page's own words say the same.
const REASONS = [
  [/^is missing$/, "js.error.missing"],
  [/characters$/, "js.error.length"],
  [/number from 1900 to 2100$/, "js.error.year"],
  [/whole number$/, "js.error.number"],
  [/bands of this contest$/, "js.error.band"],
  [/albums of this band$/, "js.error.album"],
];

function reason({ field, message: text }) {
  const [min, max] = config.rank;
  if (field === "rank" && text.startsWith("must be")) return t("js.error.rank", { min, max });
  const known = REASONS.find(([pattern]) => pattern.test(text));
  return known ? t(known[1]) : text;
}

function mark(errors) {
  for (const name of NAMES) {
    const error = errors.find(({ field }) => field === name);
    const controls = form.querySelectorAll(`[name="${name}"]`);
    write(document.getElementById(`${name}-error`), error ? reason(error) : "");
    controls.forEach((control) => control.toggleAttribute("aria-invalid", Boolean(error)));
  }
  form.querySelector("[aria-invalid]")?.focus();
}

/** What is said of a vote that was refused; an attempt before it may yet have been recorded. */
function refused({ status, problem, unsure, id }) {
  const errors = problem.errors ?? [];
  const here = errors.filter(({ field }) => NAMES.includes(field));
  const texts = { 409: () => t("js.not_open"), 404: () => t("js.no_contest") };
  const other = () => t("js.refused_other", { detail: errors[0]?.message ?? problem.detail ?? problem.title ?? status });
  const content = [paragraph(here.length ? t("js.refused") : (texts[status] ?? other)())];
  if (unsure) content.push(unsureOf(id));
  say("bad", ...content);
  mark(here);
}

function unsureOf(id) {
  const content = [t("js.unsure")];
  if (id) content.push(` ${t("js.unsure_check")} `, receiptLink(id));
  return paragraph(...content);
}

function recorded({ id }) {
  const board = document.querySelector("nav a").href;
  say("good",
    el("p", { class: "big" }, t("js.recorded")),
    paragraph(`${t("js.receipt")} `, receiptLink(id)),
    paragraph(action(t("js.another"), startAgain), " ", el("a", { href: board }, t("js.see_board"))));
  message.focus();
}

function startAgain() {
  form.reset();
  offerAlbums();
  say("");
  form.hidden = false;
  fields.disabled = false;
  button.hidden = false;
  form.elements.namedItem("name").focus();
}

function waiting({ why, seconds }) {
  say("wait", paragraph(t("js.retrying", { why: t(`js.why_${why}`), seconds })));
}

async function send(ballot) {
  mark([]);
  fields.disabled = button.disabled = true;
  say("wait", paragraph(t("js.sending")));
  const url = `${config.gateway}${api}/votes`;
  const outcome = await settle(url, ballot, { waiting, trying: () => say("wait", paragraph(t("js.retrying_now"))) });
  button.disabled = false;
  if (outcome.kind === "recorded") {
    button.hidden = true;
    return recorded(outcome);
  }
  fields.disabled = false;
  if (outcome.kind === "refused") return refused(outcome);
  say("bad",
    paragraph(t("js.gave_up", { why: t(`js.why_${outcome.why}`) })),
    paragraph(action(t("js.try_again"), () => send(ballot))));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!button.disabled && !button.hidden) send(read());
});
form.elements.namedItem("name").addEventListener("input", offerAlbums);
showWindow();
offerAlbums();

// A page that was left while its vote was under way takes it up again, with the same key.
const left = pending();
if (left) {
  fillIn(left);
  send(left);
}
