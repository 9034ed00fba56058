"""Deposits as payment systems tell them: some twice, some undone, some for a code that others want as well; and what
must be true of them when all is judged."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import func, select

from promocast import jobs
from promocast.campaign import document
from promocast.flows import issue
from promocast.flows.versions import Versions
from promocast.ledger import Ledger, audit, budgets, campaigns
from promocast.ledger.schema import codes, deliveries, deposits, events, redemptions
from promocast.model import system_clock

# Four of five deposits quote a code of their own, the fifth one of theirs; the budget is for fewer than the codes.
OWN = 0.8
FUNDED = 0.85
PER_MESSAGE = 50

CAMPAIGN = """
id = "{name}"

[label_tags.promo_code]
type = "random"

[code]
label_tag = "promo_code"
valid_for = "7d"
holder_only = false

[redemption]
min_deposit = {{ EUR = "20.00" }}
budget = {{ redemptions = {redemptions}, amount = {{ EUR = "{amount}.00" }} }}

[reward]
percent = "100"
max = {{ EUR = "40.00" }}

[templates.popup]
body = "{{{{ label.promo_code }}}}"

[[journey]]
on = "code.redeemed"
call = "bonus-engine"
"""

Message = dict[str, Any]


def issued(ledger: Ledger, name: str, count: int) -> list[str]:
    """A campaign, in force, and codes of it; its budget is for the part of them that is FUNDED."""
    most = int(count * FUNDED)
    campaign = document.from_toml(CAMPAIGN.format(name=name, redemptions=most, amount=most * 40), name, _no_files)
    body = orjson.dumps(campaign.model_dump(mode="json")).decode()
    with ledger.begin() as conn:
        campaigns.apply(conn, name, body, jobs.digest_of(body), system_clock())
    versions = Versions()
    for first in range(0, count, 500):
        players = [{"player_id": f"player-{name}-{i}"} for i in range(first, min(count, first + 500))]
        values = {"request_id": f"{name}-{first}", "campaign": name, "recipients": players}
        job = jobs.read_issue_job(values)
        part_id = issue.accept(ledger, job, system_clock(), versions=versions).part_id
        assert part_id is not None
        issue.issue_part(ledger, part_id, versions=versions, clock=system_clock, random=os.urandom, ring=_silence)
    with ledger.read() as conn:
        found = select(codes.c.code).where(codes.c.campaign_id == name).order_by(codes.c.id)
        return list(conn.execute(found).scalars())


def told(name: str, quoted: list[str], count: int, chance: random.Random) -> list[list[Message]]:
    """Lists of messages about as many deposits, in any order; each deposit is approved in the end, or undone."""
    messages: list[tuple[float, Message]] = []
    for i in range(count):
        code = quoted[i] if i < len(quoted) else chance.choice(quoted)
        at = chance.uniform(0, count)
        for later, message in enumerate(_about(f"{name}-{i}", f"player-{name}-{i}", code, chance)):
            messages.append((at + later * chance.uniform(0, count / 5), message))
    ordered = [message for _, message in sorted(messages, key=lambda one: one[0])]
    return [ordered[i : i + PER_MESSAGE] for i in range(0, len(ordered), PER_MESSAGE)]


def _about(deposit_id: str, player_id: str, code: str, chance: random.Random) -> Iterator[Message]:
    statuses = ["approved"]
    if chance.random() < 0.2:
        statuses.insert(0, "requested")
    if chance.random() < 0.1:
        statuses.append(chance.choice(["rolled_back", "cancelled", "rejected"]))
    for status in statuses:
        amount = f"{20 + int(deposit_id.rpartition('-')[2]) % 50}.00"
        message = {"deposit_id": deposit_id, "player_id": player_id, "amount": amount, "currency": "EUR"}
        yield from [message | {"status": status, "promo_code": code}] * (2 if chance.random() < 0.1 else 1)


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger says of a campaign's deposits: {result: how many}, and the same redemptions counted six ways."""

    results: dict[str, int]
    accepted: int
    active: int
    on_codes: int
    spent: int
    redeemed: int  # events, of redemptions that were rolled back since as well
    called: int  # calls that were planned for them
    ever: int
    wrong: list[str]


def unjudged(ledger: Ledger) -> int:
    """How many deposits are recorded and wait to be judged, again or at all."""
    with ledger.read() as conn:
        return conn.execute(select(func.count()).where(deposits.c.due_at.is_not(None))).scalar_one()


def books(ledger: Ledger, name: str) -> Books:
    r = redemptions.c
    with ledger.read() as conn:

        def count(statement: Any) -> int:
            return int(conn.execute(statement).scalar_one() or 0)

        of_round = deposits.c.deposit_id.startswith(f"{name}-")
        results = Counter(conn.execute(select(deposits.c.result).where(of_round)).scalars())
        ever = select(func.count()).where(r.campaign_id == name)
        calls = select(func.count()).select_from(deliveries).join(codes, codes.c.id == deliveries.c.code_id)
        fired = (events.c.campaign_id == name) & (events.c.type == "code.redeemed")
        return Books(
            results=dict(results),
            accepted=results["accepted"],
            active=count(ever.where(r.rolled_back_at.is_(None))),
            on_codes=count(select(func.sum(codes.c.redeemed)).where(codes.c.campaign_id == name)),
            spent=budgets.of_campaign(conn, name)[budgets.COUNT],
            redeemed=count(select(func.count()).where(fired)),
            called=count(calls.where(codes.c.campaign_id == name)),
            ever=count(ever),
            wrong=audit.violations(conn),
        )


def _no_files(path: object) -> str:
    raise FileNotFoundError(path)


def _silence(*_: object) -> None:
    return None
