"""Faults of links: each link breaks in each of the ways that the proxy knows."""

import asyncio
from functools import partial
from typing import Final

from chaos.proxy import Mode
from chaos.scene import Scene, add
from chaos.waiting import until
from chaos.world import LINKS

_STOPS_INTAKE: Final = LINKS[:3]
MODES: Final = (Mode.DELAY, Mode.BLACKHOLE, Mode.RESET, Mode.HALF_OPEN, Mode.ANSWER_LOST)


async def break_link(scene: Scene, link: str, mode: Mode) -> None:
    """Breaks the link, sees that something went into it, and mends it."""
    proxy = scene.world.proxies[link]
    # A link that is down because of another fault has nothing to break.
    await until(lambda: proxy.connections > 0, 40, f"the link {link} has no connection")
    before = proxy.hits[mode]
    await scene.strike(lambda: proxy.switch(mode))
    try:
        await scene.lasting(1.0, 2.0)
        await until(lambda: proxy.hits[mode] > before, 20, f"{link}: {mode} has hit nothing")
    finally:
        proxy.switch(Mode.PASS)
    scene.back()
    await asyncio.sleep(0)


for link in LINKS:
    for mode in MODES:
        add(
            f"{mode} {link}",
            partial(break_link, link=link, mode=mode),
            f"link {link}",
            stops_intake=link in _STOPS_INTAKE,
        )
