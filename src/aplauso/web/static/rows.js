// The bars of the board: each row keeps its element while it moves, grows and changes place.
import { el, format, named, t, visible, write } from "./common.js";

const MOST = 15;
const COLOURS = 10;

/** The colour that a band would have on every screen: FNV-1a over its name. */
function wish(name) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % COLOURS;
}

/** Its colour among those that are in use: the first from its wish on that fewest others have. */
function colourOf(name, used) {
  const uses = (colour) => used.filter((other) => other === colour).length;
  const wheel = Array.from({ length: COLOURS }, (_, i) => (wish(name) + 3 * i) % COLOURS);
  return wheel.reduce((best, colour) => (uses(colour) < uses(best) ? colour : best));
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

class Row {
  constructor(name, colour) {
    this.votes = null;
    this.colour = colour;
    this.place = el("span", { class: "place" });
    this.name = el("span", { class: "name", title: visible(name) }, named(name));
    this.fill = el("span", { class: "fill" });
    this.count = el("span", { class: "votes" });
    this.mean = el("span", { class: "mean" });
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, this.fill);
    this.element = el("li", { class: `c${colour} new` }, this.place, this.name, bar, this.count, this.mean);
  }

  update(standing, index, most) {
    const { style } = this.element;
    style.setProperty("--i", index);
    style.setProperty("--w", `${(100 * standing.votes) / most}%`);
    this.element.dataset.place = standing.place;
    write(this.place, String(standing.place));
    write(this.count, format.count(standing.votes));
    write(this.mean, format.mean(standing.rank_mean));
    this.place.setAttribute("aria-label", t("js.place", { place: standing.place }));
    this.count.setAttribute("aria-label", t("js.votes", { n: format.count(standing.votes) }));
    this.mean.setAttribute("aria-label", t("js.mean", { n: format.mean(standing.rank_mean) }));
    if (this.votes !== null && standing.votes > this.votes) this.shine();
    this.votes = standing.votes;
  }

  shine() {
    if (still.matches) return;
    this.fill.animate([{ filter: "brightness(1.5)" }, { filter: "none" }], { duration: 700, easing: "ease-out" });
  }

  leave() {
    this.element.classList.add("new");
    setTimeout(() => this.element.remove(), 500);
  }
}

export class Rows {
  constructor(list) {
    this.list = list;
    this.rows = new Map();
  }

  /** Shows the first of the standings. */
  show(standings) {
    const shown = standings.slice(0, MOST);
    const most = Math.max(1, shown[0]?.votes ?? 0);
    this.list.parentElement.style.setProperty("--n", Math.max(shown.length, 1));
    this.list.parentElement.style.setProperty("--digits", format.count(most).length);
    this.dismiss(new Set(shown.map((standing) => standing.name)));
    shown.forEach((standing, index) => this.row(standing.name, index).update(standing, index, most));
    this.order(shown);
  }

  dismiss(names) {
    for (const [name, row] of this.rows) {
      if (names.has(name)) continue;
      row.leave();
      this.rows.delete(name);
    }
  }

  row(name, index) {
    let row = this.rows.get(name);
    if (row === undefined) {
      row = new Row(name, colourOf(name, [...this.rows.values()].map(({ colour }) => colour)));
      row.element.style.setProperty("--i", index);
      this.rows.set(name, row);
      this.list.append(row.element);
      // The first style must have been computed for the change to be a transition.
      row.element.getBoundingClientRect();
      row.element.classList.remove("new");
    }
    return row;
  }

  /** Puts the elements in the order of the places, for readers that go by the document's order. */
  order(shown) {
    shown.forEach((standing, index) => {
      const { element } = this.rows.get(standing.name);
      if (this.list.children[index] !== element) this.list.insertBefore(element, this.list.children[index] ?? null);
    });
  }
}
