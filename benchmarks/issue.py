"""Issuing: jobs of 500 recipients, accepted and issued, against a job per recipient, and against bare inserts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

from sqlalchemy import insert

from benchmarks import ledgers
from benchmarks.timing import Row, rate
from promocast import jobs
from promocast.flows import issue
from promocast.flows.versions import Versions
from promocast.ledger import Ledger
from promocast.ledger.schema import codes, deliveries
from promocast.model import system_clock

_numbers = itertools.count()
RECIPIENTS, SINGLES = 10_000, 300


def run() -> Iterator[Row]:
    with ledgers.each() as opened:
        for ledger in opened:
            batched = rate(RECIPIENTS, lambda ledger=ledger: _issue(ledger, RECIPIENTS, 500))  # type: ignore[misc]
            single = rate(SINGLES, lambda ledger=ledger: _issue(ledger, SINGLES, 1))  # type: ignore[misc]
            bare = rate(RECIPIENTS, lambda ledger=ledger: _bare(ledger))  # type: ignore[misc]
            yield Row(
                f"{ledger.dialect}: accepted, issued, one delivery planned", batched, single, "a job per recipient"
            )
            yield Row(
                f"{ledger.dialect}: accepted, issued, one delivery planned", batched, bare, "bare inserts, executemany"
            )


def _issue(ledger: Ledger, count: int, size: int) -> None:
    versions = Versions()
    for _ in range(count // size):
        job = jobs.read_issue_job(
            {"request_id": f"r{next(_numbers)}", "campaign": "bench", "recipients": _players(size)}
        )
        accepted = issue.accept(ledger, job, system_clock(), versions=versions)
        assert accepted.part_id is not None
        issue.issue_part(
            ledger, accepted.part_id, versions=versions, clock=system_clock, random=os.urandom, ring=lambda *_: None
        )


def _bare(ledger: Ledger) -> None:
    """The same rows without asking anything: no request, no job, no conflict, no event."""
    for _ in range(RECIPIENTS // 500):
        first = next(_numbers) * 1_000 + 10_000_000
        rows = range(first, first + 500)
        with ledger.begin() as conn:
            conn.execute(insert(codes), [_code(i) for i in rows])
            conn.execute(
                insert(deliveries),
                [{"id": i, "code_id": i, "rule": 0, "channel": "popup", "planned_at": 1, "due_at": 1} for i in rows],
            )


def _code(i: int) -> dict[str, Any]:
    recipient = '{"addresses":{"popup":"84213","email":"ann@example.com"},"attributes":{"first_name":"Ann"}}'
    shared = {"campaign_id": "bench", "campaign_version": 1, "recipient": recipient, "issued_at": 1}
    return {"id": i, "code": f"B{i}", "folded": f"B{i}", "player_id": f"p{i}", **shared}


def _players(count: int) -> list[dict[str, Any]]:
    return [
        {
            "player_id": f"p{next(_numbers)}",
            "addresses": {"email": "ann@example.com"},
            "attributes": {"first_name": "Ann"},
        }
        for _ in range(count)
    ]
