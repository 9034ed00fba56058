"""Delivering: popups claimed, rendered, signed, posted and recorded, against bare posts of the same client."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from pydantic import SecretStr
from tests.flows.desk import Unlimited

from benchmarks import ledgers
from benchmarks.timing import Row, rate
from promocast import jobs
from promocast.channels.http import Http
from promocast.channels.signed_post import Popup
from promocast.flows import issue
from promocast.flows.deliver import deliver
from promocast.flows.desk import Desk
from promocast.flows.outcomes import Policy
from promocast.flows.versions import Versions
from promocast.flows.watch import Watch
from promocast.ledger import Ledger
from promocast.model import system_clock
from promocast.returns import Returns
from promocast.settings import PopupSettings
from promocast.signing import new_webhook_secret

COUNT, SLOTS = 4_000, 64
_numbers = itertools.count()


class Sink:
    """A server that answers 204 to everything, on an event loop of its own, as the adapters have one of theirs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self.loop).result()

    async def _start(self) -> int:
        async def answer(_: web.BaseRequest) -> web.Response:
            return web.Response(status=204)

        runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])


def run() -> Iterator[Row]:
    sink = Sink()
    url = f"http://127.0.0.1:{sink.port}/"
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    bare = rate(COUNT, lambda: asyncio.run_coroutine_threadsafe(_posts(url), loop).result())
    with ledgers.each() as opened:
        for ledger in opened:
            desk, http = asyncio.run_coroutine_threadsafe(_desk(ledger, url, loop), loop).result()
            batches = [_planned(ledger, desk.versions) for _ in range(3)]
            ours = rate(COUNT, lambda desk=desk, batches=batches: _deliver(desk, batches.pop()))  # type: ignore[misc]
            asyncio.run_coroutine_threadsafe(http.close(), loop).result()
            yield Row(f"{ledger.dialect}: popups delivered, one thread", ours, bare, "bare aiohttp posts (the limit)")


async def _posts(url: str) -> None:
    gate = asyncio.Semaphore(SLOTS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with gate, session.post(url, data=b"x" * 400) as response:
                await response.read()

        await asyncio.gather(*(one() for _ in range(COUNT)))


async def _desk(ledger: Ledger, url: str, loop: asyncio.AbstractEventLoop) -> tuple[Desk, Http]:
    secret = SecretStr(new_webhook_secret(os.urandom(32)))
    http = Http()
    popup = Popup(PopupSettings(url=url, secrets=(secret,)), http, system_clock)
    watch = Watch(ledger, system_clock)
    threading.Thread(target=watch.keep_looking, args=(threading.Event(),), daemon=True).start()
    desk = Desk(
        ledger=ledger,
        returns=Returns("00000000", bytes(32)),
        versions=Versions(),
        watch=watch,
        adapters={"popup": popup},
        targets={"popup": "digest"},
        policies={"popup": Policy(SLOTS, 20_000, 8, "resend", 900_000)},
        loop=loop,
        clock=system_clock,
        jitter=random.random,
        ring=lambda *_: None,
        limiter=Unlimited(),
        stopping=threading.Event(),
        stop_grace=1_000,
    )
    return desk, http


def _planned(ledger: Ledger, versions: Versions) -> list[int]:
    rung: list[int] = []

    def ring(_: str, ids: Sequence[Any]) -> None:
        rung.extend(ids)

    for _ in range(COUNT // 500):
        recipients = [{"player_id": f"d{next(_numbers)}", "attributes": {"first_name": "Ann"}} for _ in range(500)]
        job = jobs.read_issue_job({"request_id": f"d{next(_numbers)}", "campaign": "bench", "recipients": recipients})
        part_id = issue.accept(ledger, job, system_clock(), versions=versions).part_id
        assert part_id is not None
        issue.issue_part(ledger, part_id, versions=versions, clock=system_clock, random=os.urandom, ring=ring)
    return rung


def _deliver(desk: Desk, ids: list[int]) -> None:
    for i in range(0, len(ids), jobs.IDS_PER_RING):
        deliver(desk, "popup", ids[i : i + jobs.IDS_PER_RING])
