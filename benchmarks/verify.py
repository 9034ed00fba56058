"""Verifying: deposits that quote a code each, judged, against the bare UPDATE that counts redemptions of as many."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks import ledgers
from benchmarks.timing import Row, rate
from promocast import jobs
from promocast.campaign.document import Campaign
from promocast.flows import issue, tell, verify
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, codes
from promocast.model import system_clock
from promocast.settings import VerificationSettings

_numbers = itertools.count()
REPEAT = 3

CAMPAIGN = Campaign.model_validate(
    {
        "id": "deposits",
        "label_tags": {"promo_code": {"type": "random"}},
        "code": {"label_tag": "promo_code", "valid_for": "7d"},
        "redemption": {
            "min_deposit": {"EUR": "20.00"},
            "max_deposit": {"EUR": "500.00"},
            "payment_methods": ["VISA", "MASTERCARD"],
            "per_player": 1,
            "budget": {"redemptions": 10_000_000, "amount": {"EUR": "900000000.00"}},
        },
        "reward": {"percent": "100", "max": {"EUR": "200.00"}},
        "templates": {"popup": {"title": "Hi", "body": "Your code: {{ label.promo_code }}"}},
        "journey": [{"on": "code.issued", "send": ["popup"]}, {"on": "code.redeemed", "call": "bonus-engine"}],
    }
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Deposits told at once, and the codes that they quote, as they are folded."""

    told: list[jobs.Deposit]
    folded: list[str]


def run() -> Iterator[Row]:
    with ledgers.each() as opened:
        for ledger in opened:
            ledgers.apply(ledger, CAMPAIGN)
            yield from _rows(ledger, f"{ledger.dialect}: in batches of 500", size=500, batches=8)
            yield from _rows(ledger, f"{ledger.dialect}: one by one", size=1, batches=300)


def _rows(ledger: Ledger, how: str, *, size: int, batches: int) -> Iterator[Row]:
    versions = Versions()
    lots = iter([_batches(ledger, versions, size, batches) for _ in range(3 * REPEAT)])
    recorded = iter([[_record(ledger, batch) for batch in next(lots)] for _ in range(REPEAT)])
    count = size * batches
    judged = rate(count, lambda: _judge_each(ledger, versions, next(recorded)), REPEAT)
    whole = rate(count, lambda: _judge_each(ledger, versions, (_record(ledger, b) for b in next(lots))), REPEAT)
    bare = rate(count, lambda: _bare(ledger, next(lots)), REPEAT)
    yield Row(f"{how}, deposits judged", judged, bare, "bare UPDATE RETURNING (the limit)")
    yield Row(f"{how}, deposits recorded and judged", whole, bare, "bare UPDATE RETURNING (the limit)")


def _batches(ledger: Ledger, versions: Versions, size: int, batches: int) -> list[Batch]:
    """Codes of as many players, and a deposit of each that quotes it."""
    players = [f"v{next(_numbers)}" for _ in range(size * batches)]
    found: list[Batch] = []
    for first in range(0, len(players), 500):
        job = jobs.read_issue_job(
            {
                "request_id": f"v{next(_numbers)}",
                "campaign": CAMPAIGN.id,
                "recipients": [{"player_id": player_id} for player_id in players[first : first + 500]],
            }
        )
        part_id = issue.accept(ledger, job, system_clock(), versions=versions).part_id
        assert part_id is not None
        issue.issue_part(ledger, part_id, versions=versions, clock=system_clock, random=os.urandom, ring=_silence)
        with ledger.read() as conn:
            issued = codes.page(conn, request_ref=job.request_id, limit=500)
        found += [_batch(issued[i : i + size]) for i in range(0, len(issued), size)]
    return found


def _batch(issued: Sequence[codes.Code]) -> Batch:
    facts = {"amount": "50.00", "currency": "EUR", "status": "approved", "payment_method": "VISA"}
    told = [
        jobs.read_deposit(
            {"deposit_id": f"d{code.id}", "player_id": code.player_id, "promo_code": code.code.lower(), **facts}
        )
        for code in issued
    ]
    return Batch(told, [code.folded for code in issued])


def _record(ledger: Ledger, batch: Batch) -> list[str]:
    return tell.record(ledger, batch.told, system_clock())


def _judge_each(ledger: Ledger, versions: Versions, recorded: Iterator[list[str]] | list[list[str]]) -> None:
    for ids in recorded:
        verdicts = verify.judge(
            ledger, ids, versions=versions, terms=VerificationSettings(), clock=system_clock, ring=_silence
        )
        assert all(verdict["result"] == "accepted" for verdict in verdicts.values())


def _bare(ledger: Ledger, batches: Sequence[Batch]) -> None:
    quoted = "IN (SELECT value FROM json_each(:folded))" if ledger.dialect == "sqlite" else "= ANY(:folded)"
    statement = text(f"UPDATE codes SET redeemed = redeemed + 1 WHERE folded {quoted} RETURNING id, player_id")
    for batch in batches:
        folded = jobs.as_bytes(batch.folded).decode() if ledger.dialect == "sqlite" else batch.folded
        with ledger.begin() as conn:
            assert len(conn.execute(statement, {"folded": folded}).all()) == len(batch.folded)


def _silence(*_: object) -> None:
    return None
