"""What is written to the logs."""

import json
import re

import pytest
import structlog

from aplauso.services import logs
from aplauso.settings import Settings

HARMFUL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(autouse=True)
def _as_before() -> None:
    structlog.reset_defaults()


@pytest.mark.parametrize("form", ["console", "json"])
def test_text_from_outside_moves_no_cursor(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A log line holds no character that a terminal obeys, whatever came in."""
    logs.configure(Settings(log_format=form))  # type: ignore[arg-type]
    structlog.get_logger("test").warning("not done", path="/\x1b[2J\u202eevil\x9b31m\x00", why="Señal")
    line = capfd.readouterr().err
    assert "2J" in line
    assert not HARMFUL.search(line), line
    if form == "json":
        assert json.loads(line)["why"] == "Señal"
    structlog.reset_defaults()
