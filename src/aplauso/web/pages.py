"""The pages that people see, and the files that belong to them.

Everything is read once, when `Pages` is made; afterwards nothing here touches the disk, so that a page
costs one template and a file costs a look-up. A static address carries a digest of all static files
(`/static/<digest>/board.js`): it may be kept for ever, and another version has other addresses.
"""

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlsplit

from jinja2 import DictLoader, Environment, StrictUndefined

from aplauso.domain.contest import LANGUAGES, Contest
from aplauso.domain.errors import Misconfigured

Name = Literal["board", "ballot", "records", "docs"]
Language = Literal["es", "en"]

PATHS: Final[Mapping[Name, str]] = {"board": "/", "ballot": "/vote", "records": "/records", "docs": "/docs"}
"""Where each page lives."""
_FOLDER: Final = Path(__file__).parent
_RANGE: Final = re.compile(r"\s*([A-Za-z*]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?))?\s*")
_HOST: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+")
# Tables of types differ between machines; these are the ones that the pages need.
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}


class Page(NamedTuple):
    """An answer that is ready to send.

    Attributes:
        body: the bytes.
        content_type: of the body, with its charset.
        headers: all others, names in lower case; a static file's hold its `etag`.
    """

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...]


class Pages:
    """Renders the pages in the languages of `LANGUAGES` and hands out static files."""

    def __init__(self, gateway_url: str = "") -> None:
        """Reads templates, translations and static files.

        Args:
            gateway_url: where the ballot sends votes when that is another origin than the page's own, or "".

        Raises:
            Misconfigured: `gateway_url` is not an http or https address.
        """
        self._gateway = gateway_url.rstrip("/")
        self._origin = _origin(self._gateway) if self._gateway else ""
        self._texts = {language: _translation(language) for language in LANGUAGES}
        self._environment = _environment()
        files = _read(_FOLDER / "static")
        self._digest = _digest_of(files)
        self._files = {name: _static_page(name, body) for name, body in files.items()}

    def render(self, page: Name, *, contests: Sequence[Contest], contest: Contest, language: str) -> Page:
        """A page as HTML.

        Args:
            page: which one.
            contests: all that the page offers to switch to.
            contest: the one that it shows.
            language: one of `LANGUAGES`; any other gives Spanish.
        """
        language = language if language in self._texts else LANGUAGES[0]
        texts = self._texts[language]
        body = self._environment.get_template(f"{page}.html").render(
            page=page, contest=contest, contests=contests, language=language, languages=LANGUAGES,
            t=lambda key: _text(texts, key), static=self._address, link=_linker(contest, language),
            config=self._config(contest, language), bands={band.name: band.albums for band in contest.bands},
        )  # fmt: skip
        return Page(body.encode(), "text/html; charset=utf-8", self._headers(page, language))

    def static(self, path: str) -> Page | None:
        """A static file, or None when there is none of that name.

        Args:
            path: what follows `/static/` in the address, with or without the digest; may also begin with `/static/`.
        """
        name = path.removeprefix("/").removeprefix("static/")
        digest, _, rest = name.partition("/")
        if digest == self._digest:
            return self._with_caching(rest, "public, max-age=31536000, immutable")
        # A page of another version may ask for its own digest while the versions change over.
        name = rest if re.fullmatch("[0-9a-f]{12}", digest) else name
        return self._with_caching(name, "no-cache")

    def language(self, accept_language: str | None, query_lang: str | None = None) -> Language:
        """The language to answer in: that of `?lang=`, else Accept-Language's best (RFC 9110, 12.5.4), else Spanish."""
        if query_lang in ("es", "en"):
            return "en" if query_lang == "en" else "es"
        best: tuple[float, Language] = (0.0, "es")
        for part in (accept_language or "")[:1000].split(","):
            match = _RANGE.fullmatch(part)
            if match is None or match[1].lower() not in ("es", "en", "*"):
                continue
            quality = float(match[2]) if match[2] else 1.0
            if quality > best[0]:
                best = (quality, "en" if match[1].lower() == "en" else "es")
        return best[1]

    def _with_caching(self, name: str, caching: str) -> Page | None:
        page = self._files.get(name)
        return page and page._replace(headers=(*page.headers, ("cache-control", caching)))

    def _address(self, name: str) -> str:
        """The address of a static file. Raises `KeyError` for one that is not there."""
        if name not in self._files:
            raise KeyError(name)
        return f"/static/{self._digest}/{name}"

    def _config(self, contest: Contest, language: str) -> dict[str, Any]:
        """What the page's script needs to know."""
        texts = self._texts[language]
        return {
            "contest": contest.id,
            "gateway": self._gateway,
            "locale": texts["locale"],
            "opens": contest.opens,
            "closes": contest.closes,
            "rank": [contest.rank.min, contest.rank.max],
            "texts": {key: text for key, text in texts.items() if key.startswith("js.")},
        }

    def _headers(self, page: Name, language: str) -> tuple[tuple[str, str], ...]:
        # Swagger UI writes style attributes; only its page may.
        style = "'self' 'unsafe-inline'" if page == "docs" else "'self'"
        connect = f"'self' {self._origin}".strip()
        policy = (
            f"default-src 'none'; script-src 'self'; style-src {style}; img-src 'self' data:; font-src 'self'; "
            f"connect-src {connect}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        return (
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-cache"),
            ("vary", "accept-language"),
            ("content-language", language),
        )


def _environment() -> Environment:
    sources = {path.name: path.read_text("utf-8") for path in sorted((_FOLDER / "templates").glob("*.html"))}
    return Environment(
        loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _translation(language: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((_FOLDER / "translations" / f"{language}.json").read_text("utf-8"))
    return texts


def _text(texts: Mapping[str, str], key: str) -> str:
    """A text for people. Raises `KeyError` for a key that the translation does not have."""
    return texts[key]


def _linker(contest: Contest, language: str) -> Any:
    def link(page: Name, contest_id: str = contest.id, lang: str = language) -> str:
        """A page's address, keeping contest and language."""
        return f"{PATHS[page]}?contest={quote(contest_id, safe='')}&lang={lang}"

    return link


def _read(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _digest_of(files: Mapping[str, bytes]) -> str:
    digests = "".join(f"{name}\n{sha256(body).hexdigest()}\n" for name, body in files.items())
    return sha256(digests.encode()).hexdigest()[:12]


def _static_page(name: str, body: bytes) -> Page:
    suffix = Path(name).suffix
    content_type = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    headers = (
        ("etag", f'"{sha256(body).hexdigest()[:32]}"'),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    )
    return Page(body, content_type, headers)


def _origin(url: str) -> str:
    """The origin of an address (RFC 6454), as a Content-Security-Policy takes it."""
    try:
        parts = urlsplit(url)
        host, port = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}"), parts.port
    except ValueError as error:
        raise Misconfigured(f"the gateway's address {url!r} is not an address: {error}") from None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise Misconfigured(f"the gateway's address {url!r} must look like https://votes.example.org")
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
