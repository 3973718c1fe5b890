"""Faults of links: each link breaks in each of the ways that the proxy knows."""

import asyncio
import contextlib
from functools import partial
from typing import Final

from chaos.onlooker import Onlooker
from chaos.proxy import Mode, Proxy
from chaos.scene import LIMIT_SECONDS, Scene, add
from chaos.waiting import NotInTimeError, until
from chaos.world import LINKS

_STOPS_INTAKE: Final = LINKS[:3]
_SHORT_SECONDS: Final = (1.0, 2.0)
_LONG_SECONDS: Final = (6.0, 8.0)
"""Longer than a call's deadline (4 s), Redis' and Kafka's silence (5 s each)."""
_STRIKES: Final = 4
MODES: Final = (Mode.DELAY, Mode.BLACKHOLE, Mode.RESET, Mode.HALF_OPEN, Mode.ANSWER_LOST)


async def break_link(scene: Scene, link: str, mode: Mode) -> None:
    """Breaks the link, sees that something went into it, and mends it."""
    proxy = scene.world.proxies[link]
    # A link that is down because of another fault has nothing to break.
    await until(lambda: proxy.connections > 0, 40, f"the link {link} has no connection")
    before = proxy.hits[mode]
    await scene.strike(lambda: proxy.switch(mode))
    try:
        # A black hole is noticed by time-outs alone: half of them last longer than any.
        is_long = mode is Mode.BLACKHOLE and scene.rng.random() < 0.5
        await scene.lasting(*(_LONG_SECONDS if is_long else _SHORT_SECONDS))
        await _until_hit(proxy, mode, before)
    finally:
        proxy.switch(Mode.PASS)
    scene.back()
    await asyncio.sleep(0)


async def _until_hit(proxy: Proxy, mode: Mode, before: int) -> None:
    """Waits until the broken link hit something.

    Some modes strike connections that are there. All of these may end by themselves, as when voters give up over
    another fault: then those are struck that have come meanwhile.
    """
    hit = partial(until, lambda: proxy.hits[mode] > before, 4, f"{proxy.name}: {mode} has hit nothing")
    for _ in range(_STRIKES):
        with contextlib.suppress(NotInTimeError):
            await hit()
            return
        proxy.switch(mode)
    await hit()


async def break_link_of_pages(scene: Scene, link: str, mode: Mode) -> None:
    """The same while somebody looks on, who soon gets pages again. Nobody else asks the board for anything."""
    room = link.partition("-")[0]  # who is asked for pages, and has to ask over the link
    onlooker = Onlooker(f"http://127.0.0.1:{scene.world.stack.ports[room]}/v1/contests/{scene.crowd.contest}")
    async with onlooker.looking():
        await until(lambda: onlooker.since(0.0), 40, "the board showed nothing before its link broke")
        await break_link(scene, link, mode)
        back = scene.event.back
        within = LIMIT_SECONDS if scene.event.alone else 40.0  # another fault may have the server away meanwhile
        await until(lambda: onlooker.since(back), within, f"the board showed nothing for {within:g} s afterwards")


for link in LINKS[:5]:
    for mode in MODES:
        add(
            f"{mode} {link}",
            partial(break_link, link=link, mode=mode),
            f"link {link}",
            stops_intake=link in _STOPS_INTAKE,
        )
# A lost answer is a reset to those who only ask, and nothing more: they ask again. The tally writes rejections, too.
for link in LINKS[5:]:
    rooms = {"board-redis": ("board",), "board-mongo": ("board",), "gateway-board": ("board", "gateway")}.get(link, ())
    run = break_link_of_pages if rooms else break_link
    for mode in MODES if link == "tally-kafka" else MODES[:4]:
        add(f"{mode} {link}", partial(run, link=link, mode=mode), f"link {link}", *rooms)
