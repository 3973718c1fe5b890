"""The ballot, in a real browser."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from browser_site import Opener, Site, Watch

VOTES = "**/v1/contests/*/votes"


def fill(page: Page, name: str = "La Tona", album: str = "Sub", year: str = "1998", rank: int = 9) -> None:
    """Fills in the ballot."""
    page.locator("#name").fill(name)
    page.locator("#album").fill(album)
    page.locator("#year").fill(year)
    page.locator(f"input[name=rank][value='{rank}']").check()


def send(page: Page) -> None:
    """Presses the button."""
    page.locator("#send").click()


def answering(page: Page, *answers: Callable[[Route], None]) -> list[Request]:
    """Answers the first attempts in other ways than the server would; returns the attempts as they come."""
    attempts: list[Request] = []

    def handle(route: Route) -> None:
        attempts.append(route.request)
        number = len(attempts) - 1
        if number < len(answers):
            answers[number](route)
        else:
            route.continue_()

    page.route(VOTES, handle)
    return attempts


def problem(status: int, **members: Any) -> Callable[[Route], None]:
    """Answers with a problem document instead of the server."""
    body = json.dumps({"type": "about:blank", "title": "No", "status": status, **members})
    return lambda route: route.fulfill(status=status, content_type="application/problem+json", body=body)


def key_of(request: Request) -> str:
    """The Idempotency-Key of an attempt."""
    return request.headers["idempotency-key"]


@pytest.mark.parametrize(("lang", "thanks"), [("es", "¡Voto registrado!"), ("en", "Vote recorded!")])
def test_a_vote_from_ballot_to_standings(site: Site, contest: str, open_page: Opener, lang: str, thanks: str) -> None:
    """A ballot that is filled in is acknowledged with a receipt, counted once, and found under its id."""
    page = open_page(f"/vote?contest={contest}&lang={lang}")
    fill(page)
    send(page)
    expect(page.locator("#message")).to_contain_text(thanks)
    receipt = page.locator("#message a.id")
    vote_id = receipt.text_content()
    assert receipt.get_attribute("href") == f"/v1/votes/{vote_id}"
    standing = site.standings(contest, 1)["standings"][0]
    assert (standing["name"], standing["rank_mean"], standing["albums"]) == (
        "La Tona",
        9,
        [{"album": "Sub", "votes": 1}],
    )
    site.wait_until(lambda: bool(site.get(f"/v1/contests/{contest}/records")["records"]), "archived", 10)
    assert site.get(f"/v1/votes/{vote_id}")["year"] == 1998


def test_the_next_vote_has_another_key(site: Site, contest: str, open_page: Opener) -> None:
    """After a receipt the same ballot sent again is another vote."""
    page = open_page(f"/vote?contest={contest}&lang=en")
    attempts = answering(page)
    for _ in range(2):
        fill(page)
        send(page)
        expect(page.locator("#message")).to_contain_text("Vote recorded!")
        page.get_by_role("button", name="Vote again").click()
        expect(page.locator("#message")).to_be_empty()
    assert key_of(attempts[0]) != key_of(attempts[1])
    site.standings(contest, 2)


@pytest.mark.parametrize(
    ("lang", "messages"),
    [
        ("es", ["Debe tener de 1 a 200 caracteres.", "Debe ser un año de 1900 a 2100.", "Debe ser de 1 a 10."]),
        ("en", ["Must be 1 to 200 characters.", "Must be a year from 1900 to 2100.", "Must be 1 to 10."]),
    ],
)
def test_faults_stand_beside_their_fields(
    site: Site, contest: str, open_page: Opener, watch: Watch, lang: str, messages: list[str]
) -> None:
    """An empty ballot is refused, each fault is told beside its field, and nothing is recorded."""
    watch.expect("status of 422")
    page = open_page(f"/vote?contest={contest}&lang={lang}")
    send(page)
    for field, message in zip(("name", "album", "year", "rank"), [messages[0], *messages], strict=True):
        expect(page.locator(f"#{field}-error")).to_have_text(message)
        assert page.locator(f"[name={field}]").first.get_attribute("aria-invalid") is not None
    assert page.evaluate("document.activeElement.id") == "name"
    fill(page)
    send(page)
    expect(page.locator("#message a.id")).to_be_visible()
    expect(page.locator("#name-error")).to_be_empty()
    site.standings(contest, 1)


def test_retries_keep_the_key_and_count_once(site: Site, contest: str, open_page: Opener, watch: Watch) -> None:
    """Through a 503, a 504 whose vote was recorded and a broken connection, one ballot is one vote."""
    watch.expect("status of 50[34]|ERR_FAILED|ERR_CONNECTION")

    def recorded_but_unanswered(route: Route) -> None:
        assert route.fetch().status == 201
        problem(504, id="01939c5e-7a10-7c4e-9d53-8c1f0b6a2e47")(route)

    page = open_page(f"/vote?contest={contest}&lang=en")
    attempts = answering(page, problem(503), recorded_but_unanswered, lambda route: route.abort())
    fill(page)
    send(page)
    expect(page.locator("#message")).to_contain_text("cannot record votes right now. Trying again")
    expect(page.locator("#fields")).to_have_js_property("disabled", True)
    expect(page.locator("#message")).to_contain_text("We do not know yet", timeout=15_000)
    expect(page.locator("#message")).to_contain_text("cannot be reached", timeout=15_000)
    expect(page.locator("#message")).to_contain_text("Vote recorded!", timeout=20_000)
    assert len(attempts) == 4
    assert len({(key_of(attempt), attempt.post_data) for attempt in attempts}) == 1
    site.standings(contest, 1)


def test_a_reload_takes_the_vote_up_again(site: Site, contest: str, open_page: Opener, watch: Watch) -> None:
    """A page reloaded while its vote was undecided sends the same ballot with the same key."""
    watch.expect("status of 504")
    page = open_page(f"/vote?contest={contest}&lang=en")
    attempts = answering(page, problem(504), problem(504))
    fill(page)
    send(page)
    expect(page.locator("#message")).to_contain_text("We do not know yet")
    page.reload()
    expect(page.locator("#message")).to_contain_text("Vote recorded!", timeout=15_000)
    assert len({(key_of(attempt), attempt.post_data) for attempt in attempts}) == 1
    site.standings(contest, 1)
    page.reload()
    expect(page.locator("#message")).to_be_empty()


def test_a_refusal_after_an_undecided_attempt_is_told_as_unsure(contest: str, open_page: Opener, watch: Watch) -> None:
    """When voting closes between an undecided attempt and the next, nothing is claimed to be unrecorded."""
    watch.expect("status of (504|409)")
    vote_id = "01939c5e-7a10-7c4e-9d53-8c1f0b6a2e47"
    page = open_page(f"/vote?contest={contest}&lang=en")
    answering(page, problem(504, id=vote_id), problem(409))
    fill(page)
    send(page)
    expect(page.locator("#message")).to_contain_text("An earlier attempt may have been recorded.", timeout=15_000)
    expect(page.locator("#message a.id")).to_have_attribute("href", f"/v1/votes/{vote_id}")


def test_a_contest_that_is_over_says_so(open_page: Opener, watch: Watch) -> None:
    """A vote after the closing is refused with the reason; the page had said that voting is closed."""
    watch.expect("status of 409")
    page = open_page("/vote?contest=pasado&lang=en")
    expect(page.locator("#window")).to_contain_text("Voting closed:")
    fill(page)
    send(page)
    expect(page.locator("#message")).to_have_text("Voting is not open.")


def test_listed_bands_are_offered(site: Site, open_page: Opener) -> None:
    """Where bands are listed only they can be picked, and each brings its albums."""
    page = open_page("/vote?contest=lista&lang=en")
    assert page.locator("#name option").all_text_contents() == ["Pick a band", "La Tona", "Alux Nahual"]
    page.locator("#name").select_option("La Tona")
    offered = page.locator("#albums option").evaluate_all("options => options.map(option => option.value)")
    assert offered == ["Sub", 'Mil "Palabras"']
    page.locator("#album").fill('Mil "Palabras"')
    page.locator("#year").fill("2001")
    page.locator("#rank").fill("100")
    send(page)
    expect(page.locator("#message")).to_contain_text("Vote recorded!")
    site.standings("lista", 1)


def test_a_page_without_random_uuid_votes_all_the_same(site: Site, contest: str, open_page: Opener) -> None:
    """Served over plain HTTP to a phone, where `crypto.randomUUID` is missing, the ballot still makes its key."""
    page = open_page(f"/vote?contest={contest}")
    page.evaluate("() => { crypto.randomUUID = undefined }")
    attempts = answering(page)
    fill(page)
    send(page)
    expect(page.locator("#message a.id")).to_be_visible()
    assert len(key_of(attempts[0])) == 36
    site.standings(contest, 1)


def test_ballot_works_by_keyboard_alone(site: Site, contest: str, open_page: Opener) -> None:
    """Every field is reached with Tab, in order, and Enter sends."""
    page = open_page(f"/vote?contest={contest}&lang=en")
    page.locator("#name").focus()
    for text in ("La Tona", "Sub", "1998"):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text("Vote recorded!")
    assert site.standings(contest, 1)["standings"][0]["rank_mean"] == 2
