"""What several rooms have in common."""

import pytest

from aplauso.domain.errors import Misconfigured
from aplauso.metrics import Metrics
from aplauso.services.http import HTTPServer
from aplauso.services.rooms import label
from aplauso.web.app import App


def test_a_name_cannot_break_a_scrape() -> None:
    """The metrics hold no control character, which Prometheus would refuse the whole scrape for."""
    metrics = Metrics()
    metrics.standing.labels("c", label("a\x00b\x1b[31m\nc\x9f é")).set(1)
    exposed = metrics.expose()
    assert b"a\\\\x00b\\\\x1b[31m\\\\x0ac\\\\x9f" in exposed
    assert not any(byte < 0x20 and byte != 0x0A for byte in exposed)


async def test_a_host_may_be_a_name() -> None:
    """A name to listen on is looked up once; one that is none is told as what it is."""
    app = App([], Metrics())
    server = HTTPServer(app, "localhost", 0)
    await server.start()
    assert server.url.split(":")[0] == "http"
    await server.stop()
    with pytest.raises(Misconfigured, match=r"there is no host .nosuchhost\.invalid."):
        HTTPServer(app, "nosuchhost.invalid", 0)
