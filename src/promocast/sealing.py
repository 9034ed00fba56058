"""The hash chain over redemptions and rollbacks: exactly what is hashed, so that anybody can compute it anew.

A leaf is SHA-256 over a zero byte and a fact, a head SHA-256 over a one byte and a batch, so neither can be passed off
as the other (the domain separation of RFC 6962, section 2.1). Facts and batches are JSON arrays, UTF-8, without spaces.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any, Final

from promocast.model import Instant

SALT_BYTES: Final = 32
_LEAF: Final = b"\x00"
_HEAD: Final = b"\x01"


def redeemed(
    redemption_id: int,
    *,
    campaign_id: str,
    folded: str,
    deposit_id: str,
    amount: str,
    currency: str,
    reward: str | None,
    at: Instant,
    player_digest: str,
) -> str:
    """The leaf of a redemption. `folded` is the code's folded spelling, `reward` the JSON text that was promised."""
    return _digest(
        _LEAF,
        ["redeemed", redemption_id, campaign_id, folded, deposit_id, amount, currency, reward, at, player_digest],
    )


def rolled_back(redemption_id: int, *, deposit_id: str, at: Instant) -> str:
    """The leaf of a redemption's undoing."""
    return _digest(_LEAF, ["rolled_back", redemption_id, deposit_id, at])


def player_digest(salt: bytes, player_id: str) -> str:
    """Who redeemed, for whoever has the salt; without it the digest says nothing."""
    return hmac.digest(salt, player_id.encode(), hashlib.sha256).hex()


def first_head(ledger_id: str) -> str:
    """What the first batch follows: a chain belongs to one ledger."""
    return _digest(_HEAD, ["promocast", ledger_id])


def head(previous: str, number: int, sealed_at: Instant, leaves: Sequence[str]) -> str:
    """The head of a batch: it binds the batch's leaves, their order, its number and time, and all batches before it."""
    return _digest(_HEAD, [previous, number, sealed_at, *leaves])


def _digest(kind: bytes, values: list[Any]) -> str:
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(kind + text.encode()).hexdigest()
