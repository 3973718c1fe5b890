"""Writes docs/settings.md and docs/metrics.md from the code, so that they say what it does.

With `--check` it writes nothing, and exits 1 when one of them is out of date.
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from msgspec import Meta

from aplauso.metrics import Metrics
from aplauso.settings import PREFIX, SECRETS, Settings
from aplauso.web import problems

DOCS: Final = Path(__file__).parent
NOTE: Final = "<!-- Written by docs/make_reference.py: change the code, not this page. -->"

HTTP_ONLY: Final = {
    "not-found": (404, "There is nothing at this address."),
    "method-not-allowed": (405, "The address answers other methods only."),
    "too-slow": (408, "The body did not come in time."),
    "too-large": (413, "The body has more bytes or lines than are allowed."),
    "unsupported-media-type": (415, "The body is neither JSON nor NDJSON."),
    "unauthorized": (401, "The request shows a token, and none is known here."),
}
"""Reasons that only HTTP has."""


def settings_page() -> str:
    """Every setting: its name, kind, default and meaning."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = [_setting(field, hints[field]) for field in Settings.__struct_fields__]
    return f"""# Settings

{NOTE}

Settings are environment variables; a file `.env` in the working directory may hold them, too, and the environment
wins. `NAME_FILE` names a file that holds the value of `NAME`, for secrets. An empty value is as if it were not set; a
name that is not known is an error. `aplauso settings` shows every value and where it came from, secrets masked.

| name | kind | default | meaning |
|---|---|---|---|
{chr(10).join(rows)}
"""


def _setting(field: str, hint: Any) -> str:
    default, meaning = getattr(Settings(), field), _meaning(hint)
    shown = "" if default in (None, "") else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    secret = " (secret)" if field in SECRETS else ""
    return f"| `{PREFIX}{field.upper()}` | {_cell(_kind(hint))} | {shown} | {_cell(meaning)}{secret} |"


def _metas(hint: Any) -> list[Meta]:
    own = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    return own + [meta for part in get_args(hint) for meta in _metas(part)]


def _meaning(hint: Any) -> str:
    return next(meta.description for meta in _metas(hint) if meta.description)


def _kind(hint: Any) -> str:
    """A setting's kind in words, with its bounds."""
    kinds = _plain(hint)
    bounds = [
        f"{sign} {value:,}"
        for meta in _metas(hint)
        for sign, value in (("≥", meta.ge), (">", meta.gt), ("≤", meta.le), ("<", meta.lt))
        if value is not None
    ]
    return ", ".join([kinds, *bounds])


def _plain(hint: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    if get_origin(hint) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(hint))
    if hint in names:
        return names[hint]
    parts = [part for part in get_args(hint) if not isinstance(part, Meta) and part is not type(None)]
    return " or ".join(_plain(part) for part in parts)


def metrics_page() -> str:
    """Every metric: its name as scraped, kind, labels and meaning; and the words of the label `reason`."""
    metrics = Metrics()
    labels = {id(each): getattr(each, "_labelnames", ()) for each in vars(metrics).values()}
    rows = []
    for name, each in sorted(vars(metrics).items()):
        if name == "registry":
            continue
        (family,) = each.describe()
        suffix = "_total" if family.type == "counter" else ""
        text = ", ".join(f"`{label}`" for label in labels[id(each)])
        rows.append(f"| `{family.name}{suffix}` | {family.type} | {text} | {_cell(family.documentation)} |")
    return f"""# Metrics

{NOTE}

Each room serves them at `/metrics` in Prometheus' text format; under `aplauso up` all are on one page.

| name | kind | labels | meaning |
|---|---|---|---|
{chr(10).join(sorted(rows))}

## The words of `reason` for votes that were refused

They are also the last part of a problem document's `type`. Of a batch, each refused line counts.

| reason | status | meaning |
|---|---|---|
{chr(10).join(_reasons())}

The reasons of rejected records stand in [design.md](design.md#rejected-records).
"""


def _reasons() -> list[str]:
    rows = {kind.reason: (status, inspect.getdoc(kind) or "") for kind, status in problems._STATUS.items()} | HTTP_ONLY
    return [f"| `{word}` | {status} | {_cell(text.splitlines()[0])} |" for word, (status, text) in sorted(rows.items())]


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


PAGES: Final = {"settings.md": settings_page, "metrics.md": metrics_page}


def main(arguments: list[str]) -> int:
    """Writes the pages, or says which are out of date."""
    stale = [name for name, make in PAGES.items() if not _is_current(DOCS / name, make())]
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"docs/{name} is out of date: run .venv/bin/python docs/make_reference.py\n")
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
    return 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
