// The live board: the stream of standings as bars, figures and a table.
import { api, format, showState, showWindow, write } from "./common.js";
import { Rows } from "./rows.js";
import { Table } from "./table.js";

const byId = (id) => document.getElementById(id);
const rows = new Rows(byId("bars"));
const table = new Table(byId("table"), byId("more"), byId("behind"));

/** Votes a second over the last seconds, from totals and the moments at which they were seen. */
class Rate {
  static WINDOW = 5000;
  samples = [];

  add(total) {
    const last = this.samples.at(-1);
    // A smaller total is a rebuild, not votes taken back.
    if (last && total < last.total) this.samples = [];
    this.samples.push({ at: performance.now(), total });
  }

  value() {
    const now = performance.now();
    while (this.samples.length > 1 && this.samples[1].at <= now - Rate.WINDOW) this.samples.shift();
    if (this.samples.length === 0) return 0;
    const first = this.samples[0];
    const span = Math.min(Rate.WINDOW, Math.max(1000, now - first.at));
    return (this.samples.at(-1).total - first.total) / (span / 1000);
  }
}

let rate = new Rate();

function show(data) {
  rate.add(data.total);
  write(byId("total"), format.count(data.total));
  byId("empty").hidden = data.standings.length > 0;
  byId("bars").parentElement.classList.toggle("none", data.standings.length === 0);
  rows.show(data.standings);
  table.show(data);
}

function showRate() {
  write(byId("rate"), format.rate(rate.value()));
}

/** Follows the stream for ever. The browser's own reconnection gives up on an HTTP error, and all screens
 *  come back at the same moment: so it is done here, with a backoff and a jitter. */
function follow(failures = 0) {
  const source = new EventSource(`${api}/standings/stream`);
  const again = () => {
    source.close();
    showState("reconnecting");
    rate = new Rate();
    const wait = Math.min(5000, 500 * 2 ** failures) * (0.75 + Math.random() / 2);
    setTimeout(() => follow(failures + 1), wait);
  };
  source.addEventListener("standings", (event) => {
    failures = 0;
    show(JSON.parse(event.data));
    showState("live");
  });
  source.onerror = again;
}

write(byId("where"), location.host + byId("where").dataset.path);
showWindow();
setInterval(showRate, 500);
follow();
