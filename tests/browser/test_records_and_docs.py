"""The latest records and the API's page, in a real browser."""

from playwright.sync_api import expect

from aplauso.web.openapi import document
from browser_site import HOSTILE, Opener, Site, table_rows


def test_the_latest_votes_come_by_themselves(site: Site, contest: str, open_page: Opener) -> None:
    """A new vote is put on top of the records without a reload, with a link to its receipt."""
    site.cast(contest, "Alux Nahual", rank=3, album="Sub", year=1987)
    page = open_page(f"/records?contest={contest}")
    expect(page.locator("#table tbody tr")).to_have_count(1)
    vote_id = site.cast(contest, "La Tona", rank=8, album="Dos", year=2004)
    expect(page.locator("#table tbody tr")).to_have_count(2)
    rows = table_rows(page)
    assert [row[1:5] for row in rows] == [["La Tona", "Dos", "2004", "8"], ["Alux Nahual", "Sub", "1987", "3"]]
    assert page.locator("#table .id a").first.get_attribute("href") == f"/v1/votes/{vote_id}"


def test_hostile_records_are_text(site: Site, contest: str, open_page: Opener) -> None:
    """Names and albums of the records are harmless text, whatever they are."""
    for name, _ in HOSTILE:
        site.cast(contest, name, album=name)
    page = open_page(f"/records?contest={contest}")
    expect(page.locator("#table tbody tr")).to_have_count(len(HOSTILE))
    assert {(row[1], row[2]) for row in table_rows(page)} == {(shown, shown) for _, shown in HOSTILE}


def test_records_of_an_empty_contest(contest: str, open_page: Opener) -> None:
    """Without votes the page says so."""
    expect(open_page(f"/records?contest={contest}").locator("#empty")).to_have_text("Todavía no hay votos.")


def test_docs_list_every_call(open_page: Opener) -> None:
    """The API's page shows each call of the document, from this host alone."""
    page = open_page("/docs")
    paths = document("1")["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(len(item.keys() & {"get", "post"}) for item in paths.values()))
    shown = {text.replace("\u200b", "") for text in page.locator(".opblock-summary-path").all_text_contents()}
    assert shown == set(paths)
    page.locator(".opblock", has_text="/v1/contests/{contest}/standings").first.click()
    expect(page.locator(".opblock.is-open .responses-wrapper")).to_be_visible()
