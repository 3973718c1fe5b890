// The table behind the chart: every band, as the standings have them.
import { api, el, format, named, t, visible, write } from "./common.js";

const MOST_ROWS = 5000;
const MOST_ALBUMS = 12;
const MANY = 200;

export class Table {
  constructor(table, more, details) {
    this.body = table.tBodies[0];
    this.more = more;
    this.details = details;
    this.label = details.querySelector("summary > span");
    this.timer = null;
    details.addEventListener("toggle", () => this.draw());
  }

  /** Shows standings: a short table at once, a long one at most once a second, or every five while nobody looks. */
  show(data) {
    this.data = data;
    if (data.standings.length <= MANY) this.draw();
    else this.timer ??= setTimeout(() => this.draw(), this.details.open ? 1000 : 5000);
  }

  draw() {
    clearTimeout(this.timer);
    this.timer = null;
    if (!this.data) return;
    const { standings, total } = this.data;
    const shown = standings.slice(0, MOST_ROWS);
    while (this.body.rows.length > shown.length) this.body.deleteRow(-1);
    shown.forEach((standing, index) => this.fill(this.body.rows[index] ?? this.grow(), standing, total));
    write(this.label, t("js.table_all", { n: format.count(standings.length) }));
    this.explain(shown.length, standings.length);
  }

  grow() {
    const cells = ["n", "", "n", "n", "n", "albums"].map((kind, i) =>
      i === 1 ? el("th", { scope: "row" }, named("")) : el("td", kind ? { class: kind } : {}),
    );
    const row = el("tr", {}, ...cells);
    this.body.append(row);
    return row;
  }

  fill(row, standing, total) {
    const [place, name, votes, share, mean, albums] = row.cells;
    write(place, String(standing.place));
    write(name.firstChild, visible(standing.name));
    write(votes, format.count(standing.votes));
    write(share, format.share(total ? standing.votes / total : 0));
    write(mean, format.mean(standing.rank_mean));
    this.fillAlbums(albums, standing.albums ?? []);
  }

  fillAlbums(cell, albums) {
    const shown = albums.slice(0, MOST_ALBUMS);
    const state = JSON.stringify([shown, albums.length]);
    if (cell.drawn === state) return;
    cell.drawn = state;
    const items = shown.map(({ album, votes }) =>
      el("span", {}, named(album), " ", el("i", {}, format.count(votes))),
    );
    const rest = albums.length - shown.length;
    if (rest > 0) items.push(el("span", {}, t("js.more_albums", { n: format.count(rest) })));
    cell.replaceChildren(...items.flatMap((item, i) => (i ? [" ", item] : [item])));
  }

  explain(shown, total) {
    this.more.hidden = shown === total;
    if (shown === total) return;
    const text = t("js.more_rows", { n: format.count(shown), total: format.count(total) });
    this.more.replaceChildren(`${text} `, el("a", { href: `${api}/standings` }, `${api}/standings`));
  }
}
