// What every page's script uses: its settings, texts for people, and text from voters made harmless.

export const config = JSON.parse(document.body.dataset.config);
export const api = `/v1/contests/${encodeURIComponent(config.contest)}`;

const whole = new Intl.NumberFormat(config.locale, { maximumFractionDigits: 0 });
const fraction = (digits) =>
  new Intl.NumberFormat(config.locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const hundredths = fraction(2), tenths = fraction(1);
const percent = new Intl.NumberFormat(config.locale, { style: "percent", maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(config.locale, { dateStyle: "full", timeStyle: "short", hourCycle: "h23" });
const clock = new Intl.DateTimeFormat(config.locale, { timeStyle: "medium", hourCycle: "h23" });

export const format = {
  count: (n) => whole.format(n),
  mean: (n) => (Number.isFinite(n) ? hundredths.format(n) : "–"),
  rate: (n) => (n < 10 ? tenths : whole).format(n),
  share: (n) => percent.format(n),
  moment: (at) => moment.format(new Date(at)),
  clock: (at) => clock.format(new Date(at)),
};

/** A text of the page's language; `{name}` in it is replaced by the value of that name. */
export function t(key, values = {}) {
  const text = config.texts[key];
  if (text === undefined) throw new Error(`there is no text ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

const OVERRIDES = /[\u202a-\u202e\u2066-\u2069\u2028\u2029]/g;
const INVISIBLE = /^[\s\p{Cf}\p{Zl}\p{Zp}\p{Mn}\u115f\u1160\u3164\uffa0]*$/u;
const code = (char) => `[U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`;

/** Text as it can be shown: control characters as symbols, what turns or hides the text as its code point. */
export function visible(text) {
  if (INVISIBLE.test(text)) return text.replace(/[^ ]/gu, code);
  return text
    .replace(/[\u0000-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/\u007f/g, "\u2421")
    .replace(/[\u0080-\u009f]/g, code)
    .replace(OVERRIDES, code);
}

/** An element with attributes and children; texts become text nodes, never markup. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Text that somebody else wrote, kept from turning its surroundings. */
export const named = (text) => el("bdi", { dir: "auto" }, visible(text));

/** Sets an element's text only when it differs, so that nothing is laid out or read aloud again for nothing. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Shows whether the page's data are fresh: "live" or "reconnecting". */
export function showState(state) {
  const badge = document.getElementById("state");
  badge.dataset.state = state;
  write(badge, t(`js.${state}`));
}

/** Says when voting opens or closes, and keeps that right as time passes. */
export function showWindow() {
  const line = document.getElementById("window");
  const { opens, closes } = config;
  const now = Date.now();
  if (opens !== null && now < opens) write(line, t("js.opens", { time: format.moment(opens) }));
  else if (closes !== null && now >= closes) write(line, t("js.closed", { time: format.moment(closes) }));
  else if (closes !== null) write(line, t("js.closes", { time: format.moment(closes) }));
  else write(line, "");
  setTimeout(showWindow, 1000);
}
