"""Claiming with caps and without, for players who have been sent a number of messages before."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from benchmarks import ledgers
from benchmarks.deliver import _desk as desk_for
from benchmarks.timing import Row, rate
from promocast import jobs
from promocast.campaign.caps import Cap
from promocast.flows import claims, issue
from promocast.flows.desk import Desk
from promocast.ledger import Ledger
from promocast.model import DAY, PLAYER_CHANNELS, system_clock

PLAYERS, BATCH, RUNS = 500, 250, 3
CAPS = (Cap(frozenset(PLAYER_CHANNELS), 1_000, DAY), Cap(frozenset({"popup"}), 1_000, 7 * DAY))
_numbers = itertools.count()


def run() -> Iterator[Row]:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with ledgers.each() as opened:
        for ledger in opened:
            desk, http = asyncio.run_coroutine_threadsafe(desk_for(ledger, "http://127.0.0.1:9/", loop), loop).result()
            capped = replace(desk, caps=CAPS)
            before = 0
            for more in (1, 20):
                for _ in range(more):
                    _sent(ledger, _planned(ledger, desk))
                before += more
                off = rate(PLAYERS, _claims(ledger, desk, [_planned(ledger, desk) for _ in range(RUNS)]), RUNS)
                on = rate(PLAYERS, _claims(ledger, capped, [_planned(ledger, desk) for _ in range(RUNS)]), RUNS)
                before += 2 * RUNS
                yield Row(f"{ledger.dialect}: claimed under caps, {before} sent before", on, off, "without caps")
            asyncio.run_coroutine_threadsafe(http.close(), loop).result()


def _claims(ledger: Ledger, desk: Desk, batches: list[list[int]]) -> Any:
    def work() -> None:
        ids = batches.pop()
        for first in range(0, len(ids), BATCH):
            some = ids[first : first + BATCH]
            with ledger.begin() as conn:
                claims.hold_players(desk, conn, "popup", [], some)
                found, _ = claims.claim(desk, conn, "popup", some, system_clock())
            assert len(found) == len(some)

    return work


def _planned(ledger: Ledger, desk: Desk) -> list[int]:
    """A message to each of the same players."""
    rung: list[int] = []

    def ring(_: str, ids: Sequence[Any]) -> None:
        rung.extend(ids)

    recipients = [{"player_id": f"c{n}", "attributes": {"first_name": "Ann"}} for n in range(PLAYERS)]
    job = jobs.read_issue_job({"request_id": f"c{next(_numbers)}", "campaign": "bench", "recipients": recipients})
    part_id = issue.accept(ledger, job, system_clock(), versions=desk.versions).part_id
    assert part_id is not None
    issue.issue_part(ledger, part_id, versions=desk.versions, clock=system_clock, random=os.urandom, ring=ring)
    return rung


def _sent(ledger: Ledger, ids: Sequence[int]) -> None:
    with ledger.begin() as conn:
        conn.execute(
            text(
                "UPDATE deliveries SET state = 'sent', due_at = NULL, sent_at = planned_at, attempted_at = planned_at "
                "WHERE id BETWEEN :first AND :last"
            ),
            {"first": min(ids), "last": max(ids)},
        )
        conn.execute(text("ANALYZE"))
