"""Tell: record what payment systems say of deposits, in whatever order and however often; judging comes after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promocast import jobs
from promocast.campaign import deposit as deposits_rules
from promocast.campaign.deposit import Window
from promocast.errors import InputError
from promocast.ledger import Connection, Ledger, deposits, inbox
from promocast.ledger.deposits import Recorded
from promocast.ledger.seals import ERASED
from promocast.model import Instant, rfc3339
from promocast.money import written
from promocast.settings import VerificationSettings


def record(ledger: Ledger, told: Sequence[jobs.Deposit], now: Instant) -> list[str]:
    """Record messages about deposits; the ids of those that are to be judged (again).

    A message that contradicts what was approved before changes nothing and is kept in the inbox.
    """
    by_id: dict[str, list[jobs.Deposit]] = {}
    for message in told:
        by_id.setdefault(message.deposit_id, []).append(message)
    with ledger.begin() as conn:
        new = deposits.open_deposits(conn, [ms[0] for _, ms in sorted(by_id.items())], now)
        changed = set(new)
        known = deposits.hold(conn, sorted(by_id))
        for deposit_id, messages in by_id.items():
            later = messages[1:] if deposit_id in new else messages
            if _retell(conn, known[deposit_id], later, now):
                changed.add(deposit_id)
    return sorted(changed)


def _retell(conn: Connection, known: Recorded, later: Sequence[jobs.Deposit], now: Instant) -> bool:
    """Add further messages to a recorded deposit; whether they say anything new. What is told of an erased player's
    deposit counts, as a rollback must, and names nobody."""
    told, changed = known.messages, False
    for message in later:
        facts = message.facts()
        anothers = message.player_id != known.player_id and not known.player_id.startswith(ERASED)
        if anothers or deposits_rules.contradicts(told, facts):
            detail = f"deposit {message.deposit_id!r} was told before with another player, amount or currency"
            body = message.model_dump_json(exclude_none=True).encode()
            inbox.put(conn, "deposit", "conflict", detail, body, now, message.player_id)
            continue
        told, new = deposits_rules.added(told, facts)
        changed = changed or new
    if changed:
        deposits.retell(conn, known.deposit_id, told, now)
    return changed


def record_message(ledger: Ledger, values: Any, now: Instant) -> list[str]:
    """Deposits from the queue; the ids to judge. What cannot be understood goes to the inbox, one entry each.

    Raises only where the ledger does not answer.
    """
    good: list[jobs.Deposit] = []
    bad: list[tuple[Any, InputError]] = []
    for raw in values if isinstance(values, list) else [values]:
        try:
            good.append(jobs.read_deposit(raw))
        except InputError as exc:
            bad.append((raw, exc))
    if bad:
        with ledger.begin() as conn:
            for raw, error in bad:
                detail = "; ".join(f"{fault.pointer}: {fault.reason}" for fault in error.faults)
                inbox.put(conn, "deposit", error.reason, detail, jobs.as_bytes(raw), now)
    return record(ledger, good, now) if good else []


def describe(known: Recorded, terms: VerificationSettings) -> dict[str, Any]:
    """A recorded deposit in the words of contract section 4, with its verdict (None until it was judged)."""
    window = Window(terms.occurred_before, terms.occurred_after)
    facts = deposits_rules.believed(known.deposit_id, known.player_id, known.messages, known.received_at, window)
    return {
        "deposit_id": known.deposit_id,
        "player_id": known.player_id,
        "amount": None if facts.amount is None else written(facts.amount, facts.currency or ""),
        "currency": facts.currency,
        "status": deposits_rules.highest(known.messages),
        "payment_method": facts.payment_method,
        "occurred_at": rfc3339(facts.occurred_at),
        "promo_code": facts.promo_code,
        "deposit_index": facts.deposit_index,
        "received_at": rfc3339(known.received_at),
        "verdict": known.verdict,
    }
