"""A real Chromium in front of a real `aplauso up`.

A page fails its test on any console error, script error, violation of the Content-Security-Policy, or
request to another host than 127.0.0.1, unless the test says beforehand that it expects it.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from browser_site import DEFAULT, Opener, Site, Watch

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
OPEN = 40
"""Open contests, so that each test has one of its own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder drive a browser."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with many open contests, one with listed bands, one that is over."""
    site = Site(tmp_path_factory.mktemp("site"))
    bands = '[[bands]]\nname = "La Tona"\nalbums = ["Sub", "Mil \\"Palabras\\""]\n[[bands]]\nname = "Alux Nahual"\n'
    site.write_contest(DEFAULT, bands)
    for number in range(OPEN):
        site.write_contest(f"escena-{number:02}", bands)
    site.write_contest("lista", f'nominations = "listed"\nrank = {{ min = 0, max = 100 }}\n{bands}')
    site.write_contest("pasado", f"closes = 2020-01-01T00:00:00Z\n{bands}")
    site.start()
    yield site
    site.stop()


_numbers = itertools.count()


@pytest.fixture
def contest() -> str:
    """An open contest that no other test votes in."""
    return f"escena-{next(_numbers):02}"


# One browser a module: while playwright's loop is there, no other can run on this thread, and the tests of
# other folders have theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no Chromium on the PATH, and CI=true")
        pytest.skip("there is no Chromium on the PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def watch() -> Watch:
    """Told by a test what it expects to go wrong."""
    return Watch()


@pytest.fixture
def open_page(browser: Browser, site: Site, watch: Watch) -> Iterator[Opener]:
    """Opens a path of the site in a new window; options are those of playwright's `new_context`."""
    contexts: list[BrowserContext] = []

    def opener(path: str, **options: Any) -> Page:
        context = browser.new_context(**{"base_url": site.url, "locale": "es-GT", **options})
        contexts.append(context)
        watch.attach(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.goto(path)
        return page

    yield opener
    for context in contexts:
        context.close()
    watch.check()
