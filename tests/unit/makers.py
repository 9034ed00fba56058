"""The ordinary case of each thing, for tests that vary one fact of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from promocast.campaign import document
from promocast.campaign.deposit import Deposit
from promocast.campaign.document import Campaign
from promocast.campaign.verdict import Candidate
from promocast.model import DAY
from tests.conftest import NOW

DOCUMENT: dict[str, Any] = {
    "id": "welcome",
    "label_tags": {"promo_code": {"type": "random"}},
    "code": {"label_tag": "promo_code", "valid_for": "7d"},
}


def campaign(**sections: Any) -> Campaign:
    """The smallest campaign there is, with the given sections put over it."""
    return document.from_json(DOCUMENT | sections, "test")


def deposit(**facts: Any) -> Deposit:
    """An approved deposit of 50.00 EUR by ann, a day after `candidate` was issued."""
    ordinary = Deposit(
        deposit_id="tx-1",
        player_id="ann",
        amount=Decimal("50.00"),
        currency="EUR",
        payment_method=None,
        deposit_index=None,
        promo_code=None,
        occurred_at=NOW,
        occurred_at_doubted=False,
        received_at=NOW,
        rank=1,
        approved=True,
    )
    if isinstance(facts.get("amount"), str):
        facts["amount"] = Decimal(facts["amount"])
    return replace(ordinary, **facts)


def candidate(terms: dict[str, Any] | None = None, reward: dict[str, Any] | None = None, **facts: Any) -> Candidate:
    """Ann's code, a day old, good for six days more and for one redemption; `terms` are its campaign's [redemption],
    and the same are in force."""
    issued_with = campaign(redemption=terms or {}, reward=reward)
    ordinary = Candidate(
        code_id=1,
        code="AB12CD",
        campaign=issued_with,
        player_id="ann",
        issued_at=NOW - DAY,
        expires_at=NOW + 6 * DAY,
        revoked_at=None,
        redeemed=0,
        max_redemptions=1,
        player_redemptions=0,
        per_player=issued_with.redemption.per_player,
    )
    return replace(ordinary, **facts)
