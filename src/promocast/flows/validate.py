"""Validate: what a deposit would come to, asked before it is made. It changes nothing, but that guesses are counted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from promocast.campaign import redemption
from promocast.campaign.deposit import RANK, Deposit, whole_seconds
from promocast.campaign.label_tags import fold
from promocast.campaign.verdict import Candidate
from promocast.flows import limits
from promocast.flows.verify import candidate
from promocast.flows.versions import Versions
from promocast.ledger import Connection, Ledger, codes, deposits, guesses, players
from promocast.ledger.engine import lock_players
from promocast.model import Instant
from promocast.settings import VerificationSettings


@dataclass(frozen=True, slots=True)
class Asked:
    """The deposit that somebody thinks of making now."""

    player_id: str
    amount: Decimal | None = None
    currency: str | None = None
    payment_method: str | None = None
    deposit_index: int | None = None


def validate(
    ledger: Ledger, text: str, asked: Asked, now: Instant, *, versions: Versions, terms: VerificationSettings
) -> dict[str, Any]:
    """The verdict on a deposit that quotes `text` now, as contract section 4 writes it, its deposit_id null."""
    deposit = _as_deposit(asked, text, now)
    with ledger.read() as conn:
        quoted = _quoted(conn, text, asked, versions)
        found = players.by_ids(conn, [asked.player_id]).get(asked.player_id)
    enough = redemption.is_guess(deposit, quoted) and not _may_guess(ledger, asked.player_id, now, terms.max_guesses)
    verdict = redemption.judge(
        deposit,
        quoted,
        [],
        excluded=found is not None and found.excluded(now),
        grace_until=now,
        now=now,
        guessed_enough=enough,
    )
    return verdict.as_json(None)


def _may_guess(ledger: Ledger, player_id: str, now: Instant, most: int) -> bool:
    with ledger.begin() as conn:
        lock_players(conn, [player_id])
        return guesses.allow(conn, player_id, now, most)


def _quoted(conn: Connection, text: str, asked: Asked, versions: Versions) -> Candidate | None:
    folded = fold(text)
    code = codes.by_folded(conn, [folded]).get(folded)
    if code is None:
        return None
    issued_with = versions.get(conn, code.campaign_id, code.campaign_version).campaign
    in_force = limits.hold(conn, [code.campaign_id], versions, lock=False)
    used = deposits.active_redemptions(conn, [asked.player_id]).get((asked.player_id, code.campaign_id), 0)
    return candidate(code, issued_with, in_force, used)


def _as_deposit(asked: Asked, text: str, now: Instant) -> Deposit:
    return Deposit(
        deposit_id="",
        player_id=asked.player_id,
        amount=asked.amount,
        currency=asked.currency,
        payment_method=asked.payment_method,
        deposit_index=asked.deposit_index,
        promo_code=text,
        occurred_at=whole_seconds(now),
        occurred_at_doubted=False,
        received_at=now,
        rank=RANK["approved"],
        approved=True,
    )
