"""The gate between claim and write: an exclusion that comes in between stops the message, over the real transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from promocast.channels.http import Http
from promocast.channels.signed_post import Popup
from promocast.flows.deliver import deliver
from promocast.flows.watch import STALE, Watch
from promocast.ledger import figures, players
from promocast.ledger.players import Player
from promocast.model import Message, Outcome
from promocast.settings import PopupSettings
from promocast.standins.base import Reply
from promocast.standins.popup import PopupSite
from tests.flows.conftest import Bench
from tests.flows.desk import Unlimited, desk_of, running_loop

BLOCKED = [{"type": "Excluded", "active": True, "until": None}]
SECRET = "whsec_" + "AAAA" * 8


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


class WhileConnecting(Popup):
    """A popup channel that lets something happen between the claim and the connection."""

    happening: Callable[[], object]

    async def send(self, message: Message) -> Outcome:
        self.happening()
        return await super().send(message)


def delivered(
    bench: Bench, loop: asyncio.AbstractEventLoop, watch: Watch, happening: Callable[[], object]
) -> tuple[int, dict[str, int]]:
    """Issue one code and deliver its popup; how many requests reached the site, and the popups by state."""

    async def open_() -> tuple[PopupSite, Http]:
        site = PopupSite(SECRET, script=lambda _: Reply(204))
        await site.start()
        return site, Http()

    async def close(site: PopupSite, http: Http) -> None:
        await http.close()
        await site.stop()

    bench.issue("p1")
    [(_, ids)] = [rung for rung in bench.rung if rung[0] == "deliver.popup"]
    site, http = asyncio.run_coroutine_threadsafe(open_(), loop).result(5)
    channel = WhileConnecting(PopupSettings(url=site.url), http, bench.clock)
    channel.happening = happening
    desk = desk_of(bench, loop, {"popup": channel}, watch=watch, limiter=Unlimited())
    deliver(desk, "popup", ids)
    reached = len(site.requests)
    asyncio.run_coroutine_threadsafe(close(site, http), loop).result(5)
    with bench.ledger.read() as conn:
        return reached, figures.counts(conn)["popup"]


def test_a_player_excluded_after_the_claim_is_not_written_to(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    watch = Watch(bench.ledger, bench.clock)

    def exclude() -> None:
        with bench.ledger.begin() as conn:
            players.put(conn, Player("p1", None, None, {}, BLOCKED), bench.clock())
        watch.look()

    watch.look()

    assert delivered(bench, loop, watch, exclude) == (0, {"skipped": 1})


def test_a_watch_that_could_not_look_lets_nothing_through_and_loses_nothing(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    watch = Watch(bench.ledger, bench.clock)
    watch.look()

    assert delivered(bench, loop, watch, lambda: bench.clock.advance(STALE + 1)) == (0, {"planned": 1})


def test_a_player_of_whom_nothing_changed_is_written_to(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    watch = Watch(bench.ledger, bench.clock)
    watch.look()

    assert delivered(bench, loop, watch, lambda: None) == (1, {"sent": 1})
