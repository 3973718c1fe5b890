"""The pages as bytes and headers: what can be said of them without a browser."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
import schemathesis
from jinja2 import UndefinedError
from schemathesis.core.result import Ok

import aplauso.web.pages
from aplauso.domain.contest import Band, Contest, Scale
from aplauso.domain.errors import Misconfigured
from aplauso.web.openapi import document
from aplauso.web.pages import PATHS, Name, Pages

WEB = Path(aplauso.web.pages.__file__).parent
TEXTS = {lang: json.loads((WEB / "translations" / f"{lang}.json").read_text("utf-8")) for lang in ("es", "en")}
NAMES: tuple[Name, ...] = get_args(Name)
CONTEST = Contest(id="uno", title={"es": "Uno", "en": "One"}, bands=(Band("La Tona", ("Sub",)),))
LISTED = Contest(
    id="dos", title={"es": "Dos", "en": "Two"}, nominations="listed", rank=Scale(0, 100),
    bands=(Band("<script>alert(1)</script>", ('"><img src=x>',)),),
)  # fmt: skip


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages()


def rendered(pages: Pages, name: Name, contest: Contest = CONTEST, language: str = "es") -> str:
    return pages.render(name, contests=[CONTEST, LISTED], contest=contest, language=language).body.decode()


def header(pages: Pages, name: Name, key: str) -> str:
    return dict(pages.render(name, contests=[CONTEST], contest=CONTEST, language="es").headers)[key]


def test_translations_have_the_same_keys() -> None:
    """Whatever is said in one language is said in the other, with the same gaps."""
    assert TEXTS["es"].keys() == TEXTS["en"].keys()
    for key, text in TEXTS["es"].items():
        gaps = re.compile(r"\{\w+\}")
        assert set(gaps.findall(text)) == set(gaps.findall(TEXTS["en"][key])), key


def test_scripts_and_templates_use_known_keys_and_all_of_them() -> None:
    """A key that is used is translated, and a key that is translated is used."""
    sources = "".join(p.read_text("utf-8") for p in [*WEB.glob("templates/*.html"), *WEB.glob("static/*.js")])
    literal = set(re.findall(r"""\bt\(\s*["']([\w.]+)["']\s*[,)]""", sources))
    literal |= set(re.findall(r'"(js\.error\.\w+)"', sources))
    assert literal <= TEXTS["es"].keys()
    composed = ("language.", "nav.", "js.why_", "js.live", "js.connecting", "js.reconnecting", "locale")
    unused = {key for key in TEXTS["es"] if key not in literal and not key.startswith(composed)}
    assert unused == set()


@pytest.mark.parametrize("language", ["es", "en"])
@pytest.mark.parametrize("contest", [CONTEST, LISTED], ids=["open", "listed"])
@pytest.mark.parametrize("name", NAMES)
def test_every_page_renders(pages: Pages, name: Name, contest: Contest, language: str) -> None:
    """Each page is HTML in the language asked for, with its contest's title."""
    html = rendered(pages, name, contest, language)
    assert html.startswith("<!doctype html>")
    assert f'<html lang="{language}">' in html
    assert contest.title[language] in html


def test_an_unknown_key_is_an_error(pages: Pages) -> None:
    """A template that asks for a text that nobody wrote fails instead of showing a hole."""
    template = pages._environment.from_string("{{ t('nobody.wrote.this') }}")
    with pytest.raises(KeyError, match=r"nobody\.wrote\.this"):
        template.render(t=lambda key: aplauso.web.pages._text(TEXTS["es"], key))
    with pytest.raises(UndefinedError):
        pages._environment.from_string("{{ nothing }}").render()


@pytest.mark.parametrize("name", NAMES)
def test_no_page_has_inline_script_or_style(pages: Pages, name: Name) -> None:
    """Nothing on a page needs more than its Content-Security-Policy gives."""
    html = rendered(pages, name)
    assert not re.search(r"<script(?![^>]*\bsrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", html)


@pytest.mark.parametrize("name", NAMES)
def test_policy_is_strict(pages: Pages, name: Name) -> None:
    """Pages load from their own origin only, run no inline script and are framed by nobody."""
    policy = dict(part.strip().split(" ", 1) for part in header(pages, name, "content-security-policy").split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["form-action"] == policy["connect-src"] == "'self'"
    assert policy["style-src"] == ("'self' 'unsafe-inline'" if name == "docs" else "'self'")
    assert header(pages, name, "x-content-type-options") == "nosniff"
    assert header(pages, name, "referrer-policy") == "no-referrer"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://votes.example.org", "https://votes.example.org"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/base", "http://[::1]:8080"),
        ("https://user:word@votes.example.org:444/", "https://votes.example.org:444"),
    ],
)
def test_gateway_may_be_called(url: str, origin: str) -> None:
    """With a gateway of its own the ballot may call that origin, and is told where it is."""
    apart = Pages(url)
    assert f"connect-src 'self' {origin};" in header(apart, "ballot", "content-security-policy")
    assert f"&#34;gateway&#34;: &#34;{url.rstrip('/')}&#34;" in rendered(apart, "ballot")


@pytest.mark.parametrize("url", ["votes.example.org", "ftp://x", "https://", "https://a;script-src *", "http://a:b"])
def test_wrong_gateway_is_refused(url: str) -> None:
    """A gateway's address that is not one stops the start, and cannot widen the policy."""
    with pytest.raises(Misconfigured, match="gateway"):
        Pages(url)


def test_names_in_a_contest_file_are_text(pages: Pages) -> None:
    """Markup in a band's name or album is escaped wherever it stands."""
    html = rendered(pages, "ballot", LISTED)
    assert "<script>alert" not in html
    assert "<img" not in html.replace('<img src="/static', "")


@pytest.mark.parametrize(
    ("accept", "query", "language"),
    [
        (None, None, "es"),
        ("", None, "es"),
        ("en", None, "en"),
        ("en-US,en;q=0.9,es;q=0.8", None, "en"),
        ("fr,es-GT;q=0.8,en;q=0.7", None, "es"),
        ("en;q=0,es;q=0.1", None, "es"),
        ("de, fr", None, "es"),
        ("*", None, "es"),
        ("en", "es", "es"),
        (None, "en", "en"),
        ("en", "xx", "en"),
        ("en;q=nan, ,;;=,en;q=9", None, "es"),
        ("en," * 100_000, None, "en"),
    ],
)
def test_language(pages: Pages, accept: str | None, query: str | None, language: str) -> None:
    """The query decides, then Accept-Language, then Spanish."""
    assert pages.language(accept, query) == language


def test_static_files_may_be_kept_under_their_digest(pages: Pages) -> None:
    """The address on a page answers with the file, its type, an ETag, and leave to keep it for ever."""
    address = re.search(r'src="(/static/[0-9a-f]{12}/board\.js)"', rendered(pages, "board"))
    assert address is not None
    page = pages.static(address[1])
    assert page is not None
    assert page == pages.static(address[1].removeprefix("/static/"))
    assert page.body == (WEB / "static/board.js").read_bytes()
    assert page.content_type == "text/javascript; charset=utf-8"
    headers = dict(page.headers)
    assert "immutable" in headers["cache-control"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers["etag"])


@pytest.mark.parametrize("path", ["board.js", "0123456789ab/board.js", "/static/board.js"])
def test_other_addresses_are_asked_again(pages: Pages, path: str) -> None:
    """Without the digest, or with another version's, a file is served but must be checked each time."""
    page = pages.static(path)
    assert page is not None
    assert dict(page.headers)["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "../pages.py",
        "..%2fpages.py",
        "/etc/passwd",
        "vendor",
        "x/../board.js",
        "board.js/",
        "a\0b",
        "//board.js",
    ],
)
def test_nothing_else_is_served(pages: Pages, path: str) -> None:
    """Only files of the folder have an address."""
    assert pages.static(path) is None


def test_own_files_stay_small_and_name_no_other_host() -> None:
    """The pages' own files weigh less than 60 kB together, and none fetches from elsewhere."""
    own = [p for p in (WEB / "static").iterdir() if p.is_file()]
    assert sum(p.stat().st_size for p in own) < 60_000
    for path in own:
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text("utf-8")), path.name
    for path in (WEB / "static/vendor").rglob("*"):
        assert path.suffix != ".map"
        assert not path.is_file() or "sourceMappingURL" not in path.read_text("utf-8"), path.name


def test_every_operation_of_the_openapi_document_can_be_read() -> None:
    """A tool that reads the document finds every call, its parameters, bodies and answers."""
    described = document("1.2.3")
    schema = schemathesis.openapi.from_dict(described)
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) == sum(len(path.keys() & {"get", "post"}) for path in described["paths"].values())
    for operation in operations:
        assert operation.responses.status_codes


def test_openapi_references_lead_somewhere() -> None:
    """Everything that the document refers to is in it, and everything in its components is referred to."""
    described = document("1.2.3")
    used = set(re.findall(r'"#/components/(\w+/[\w-]+)"', json.dumps(described)))
    components = described["components"].items()
    assert used == {f"{kind}/{name}" for kind, named in components if kind != "securitySchemes" for name in named}


def test_openapi_examples_fit_their_schemas() -> None:
    """What the document shows as an example is what it says is sent."""
    described = document("1.2.3")
    contents = list(contents_of(described))
    assert len(contents) > 20
    for content in contents:
        schema = {**content["schema"], "components": described["components"]}
        jsonschema_rs.validator_for(schema, validate_formats=True).validate(content["example"])


def contents_of(node: object) -> Iterator[dict[str, Any]]:
    """Every media type of the document that has an example."""
    if isinstance(node, dict):
        if "schema" in node and "example" in node and "in" not in node:
            yield node
        for value in node.values():
            yield from contents_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from contents_of(value)


def test_openapi_document_sends_votes_to_the_gateway() -> None:
    """With a gateway of its own, the votes' calls, and only they, go there."""
    paths = document("1.2.3", "https://votes.example.org")["paths"]
    elsewhere = {path for path, item in paths.items() if item.get("servers")}
    assert elsewhere == {"/insert", "/v1/contests/{contest}/votes"}


def test_openapi_document_has_every_page() -> None:
    """The pages have their place in the document, beside the calls."""
    assert set(PATHS.values()) <= document("1")["paths"].keys()
