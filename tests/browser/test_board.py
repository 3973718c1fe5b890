"""The live board, in a real browser."""

import random
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser_site import HOSTILE, Opener, Site, Watch, table_rows, wait_until_true

SIZES = {"projector": {"width": 1920, "height": 1080}, "phone": {"width": 360, "height": 740}}


def shown_order(page: Page) -> list[str]:
    """The bands by where their bars stand on the screen, from the top, once nothing moves any more."""
    wait_until_true(page, "document.getAnimations().every((a) => a.effect.getTiming().iterations === Infinity)")
    rows = page.locator("#bars li").evaluate_all(
        "rows => rows.map(row => [row.getBoundingClientRect().top, row.querySelector('.name').textContent])"
    )
    return [name for _, name in sorted(rows)]


def test_a_vote_is_on_the_board_within_a_second(site: Site, contest: str, open_page: Opener) -> None:
    """A vote shows on an open board within a second of its acknowledgement."""
    page = open_page(f"/?contest={contest}")
    expect(page.locator("#state")).to_have_text("En vivo")
    expect(page.locator("#total")).to_have_text("0")
    site.cast(contest, "La Tona")
    expect(page.locator("#total")).to_have_text("1", timeout=1000)
    expect(page.locator("#bars .name")).to_have_text("La Tona", timeout=1000)
    wait_until_true(page, "parseFloat(document.getElementById('rate').textContent) > 0")


def test_without_votes_the_board_invites_to_vote(open_page: Opener, contest: str) -> None:
    """An empty contest says so and leads to its ballot."""
    page = open_page(f"/?contest={contest}&lang=en")
    expect(page.locator("#empty")).to_contain_text("No votes yet.")
    page.get_by_role("link", name="Give the first applause").click()
    expect(page).to_have_url(f"{page.url.split('/vote')[0]}/vote?contest={contest}&lang=en")


def test_the_default_contest_is_shown_at_the_root(open_page: Opener) -> None:
    """Without a contest in the address the default one is shown."""
    expect(open_page("/").locator("h1")).to_have_text("Concurso bandas")


def test_bars_change_places(site: Site, contest: str, open_page: Opener) -> None:
    """A band that overtakes moves up, keeps its own bar, and equal votes share a place."""
    site.cast(contest, "Alux Nahual")
    page = open_page(f"/?contest={contest}")
    expect(page.locator("#bars li")).to_have_count(1)
    page.locator("#bars li").first.evaluate("row => { row.mark = 'the same' }")
    site.cast(contest, "La Tona")
    expect(page.locator("#bars li")).to_have_count(2)
    assert page.locator("#bars .place").all_text_contents() == ["1", "1"]
    site.cast(contest, "La Tona")
    expect(page.locator("#bars .name").first).to_have_text("La Tona")
    assert shown_order(page) == ["La Tona", "Alux Nahual"]
    assert page.locator("#bars .place").all_text_contents() == ["1", "2"]
    assert page.locator("#bars li", has_text="Alux Nahual").evaluate("row => row.mark") == "the same"


def test_bars_are_as_long_as_votes_are_many(site: Site, contest: str, open_page: Opener) -> None:
    """The leader's bar fills its track, and half the votes are half of it."""
    for name in ("Mucho", "Mucho", "Mucho", "Mucho", "Poco", "Poco"):
        site.cast(contest, name)
    page = open_page(f"/?contest={contest}", reduced_motion="reduce")
    expect(page.locator("#total")).to_have_text("6")
    parts = page.locator("#bars .fill").evaluate_all(
        """fills => fills.map(fill =>
            fill.getBoundingClientRect().width / fill.parentElement.getBoundingClientRect().width)"""
    )
    assert parts == pytest.approx([1, 0.5], abs=0.01)


def test_hostile_names_are_text(site: Site, contest: str, open_page: Opener) -> None:
    """Whatever a band is called, the board shows it as harmless text, isolated from its surroundings."""
    for name, _ in HOSTILE:
        site.cast(contest, name, album=name)
    page = open_page(f"/?contest={contest}")
    expect(page.locator("#bars li")).to_have_count(len(HOSTILE))
    assert set(page.locator("#bars .name").all_text_contents()) == {shown for _, shown in HOSTILE}
    page.locator("#behind > summary").click()
    assert {row[1] for row in table_rows(page)} == {shown for _, shown in HOSTILE}
    assert {row[5] for row in table_rows(page)} == {f"{shown} 1" for _, shown in HOSTILE}
    assert page.locator("#bars .name > bdi[dir=auto]").count() == len(HOSTILE)
    assert page.locator("#main script, #main img, #main b:not([class]) script").count() == 0


def test_table_equals_the_standings(site: Site, contest: str, open_page: Opener) -> None:
    """The table behind the chart holds every band as the API has it; the chart the first fifteen."""
    chance = random.Random(11)
    for _ in range(70):
        name = f"Banda {min(int(chance.expovariate(0.12)), 30)}"
        site.cast(contest, name, rank=chance.randint(1, 10), album=chance.choice(("Uno", "Dos")))
    standings = site.standings(contest, 70)["standings"]
    page = open_page(f"/?contest={contest}&lang=en")
    expect(page.locator("#total")).to_have_text("70")
    page.locator("#behind > summary").click()
    expect(page.locator("#table")).to_be_visible()
    rows = table_rows(page)
    assert [row[:3] for row in rows] == [[str(s["place"]), s["name"], str(s["votes"])] for s in standings]
    assert [float(row[4]) for row in rows] == pytest.approx([s["rank_mean"] for s in standings], abs=0.0051)
    assert [row[5] for row in rows] == [" ".join(f"{a['album']} {a['votes']}" for a in s["albums"]) for s in standings]
    assert len(standings) > 15
    assert shown_order(page) == [s["name"] for s in standings[:15]]
    assert page.locator("#bars .place").all_text_contents() == [str(s["place"]) for s in standings[:15]]


def test_reconnects_after_a_restart(tmp_path: Path, browser: Browser, watch: Watch) -> None:
    """When the server goes the board says so and keeps its numbers; when it is back they move on by themselves."""
    site = Site(tmp_path)
    site.write_contest("bandas")
    site.start()
    try:
        site.cast("bandas", "La Tona")
        context = browser.new_context(base_url=site.url)
        watch.attach(context)
        watch.expect(r"Failed to load resource|net::ERR_")
        page = context.new_page()
        page.goto("/?lang=en")
        expect(page.locator("#total")).to_have_text("1")
        site.stop()
        expect(page.locator("#state")).to_have_text("Reconnecting…")
        expect(page.locator("#total")).to_have_text("1")
        site.start()
        site.cast("bandas", "La Tona")
        expect(page.locator("#total")).to_have_text("2", timeout=15_000)
        expect(page.locator("#state")).to_have_text("Live")
        context.close()
        watch.check()
    finally:
        site.stop()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_every_page_fits_and_can_be_read(site: Site, open_page: Opener, scheme: str, size: str) -> None:
    """By day and by night, on a projector and on a phone, nothing sticks out sideways and texts stand out (WCAG AA)."""
    wide = "W" * 200
    site.cast("bandas", wide, album=wide)
    site.cast("bandas", "Alux Nahual")
    for path in ("/", "/vote", "/records", "/vote?contest=lista", "/docs"):
        page = open_page(path, color_scheme=scheme, viewport=SIZES[size])
        if path == "/":
            expect(page.locator("#bars li").first).to_be_visible()
            page.locator("#behind > summary").click()
        if path == "/records":
            expect(page.locator("#table tbody tr").first).to_be_visible()
        if path == "/docs":
            expect(page.locator(".opblock").first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
            continue
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        assert page.evaluate(FAINT) == [], path


FAINT = """() => {
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const rgba = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility() || element.closest("noscript, .skip")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${node.data.trim().slice(0, 40)}`);
  }
  return faint;
}"""


def test_both_languages(open_page: Opener, contest: str) -> None:
    """The page speaks the browser's language, and the switch changes it and keeps the contest."""
    page = open_page(f"/?contest={contest}", locale="en-GB")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Contest {contest}")
    expect(page.locator("#state")).to_have_text("Live")
    page.get_by_role("link", name="ES", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Concurso {contest}")
    expect(page.locator("#state")).to_have_text("En vivo")
    assert page.locator("html").get_attribute("lang") == "es"


def test_contests_are_switched(open_page: Opener) -> None:
    """The menu lists all contests and leads to the same page of another."""
    page = open_page("/vote")
    page.locator(".menu > summary").click()
    page.locator(".menu").get_by_role("link", name="Concurso lista").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Concurso lista")


def test_still_for_those_who_ask_for_it(site: Site, contest: str, open_page: Opener) -> None:
    """With reduced motion nothing on the board is animated."""
    page = open_page(f"/?contest={contest}", reduced_motion="reduce")
    expect(page.locator("#state")).to_have_text("En vivo")
    for total in ("1", "2"):
        site.cast(contest, "La Tona")
        expect(page.locator("#total")).to_have_text(total)
        assert page.evaluate("document.getAnimations().length") == 0
