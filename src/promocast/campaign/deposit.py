"""A deposit as its messages make it. They may come in any order and more than once; what is believed must not depend
on that, so it is computed from the first message of each status and never updated in place (contract section 4.1-3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from promocast.campaign.label_tags import fold
from promocast.model import HOUR, MINUTE, SECOND, Instant

# The highest seen rules. The last three undo an approval and are one rank: which of them came first decides nothing.
RANK: Final[Mapping[str, int]] = {"requested": 0, "approved": 1, "rejected": 2, "cancelled": 2, "rolled_back": 2}
NEGATED: Final = 2
# Whose word counts for a fact: the approval's, then that of the messages around it.
_AUTHORITY: Final = ("approved", "requested", "rejected", "cancelled", "rolled_back")
_FACTS: Final = ("amount", "currency", "payment_method", "deposit_index", "promo_code", "occurred_at")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """How far a sender's `occurred_at` is believed, around our first receipt of the deposit (milliseconds)."""

    before: int = 72 * HOUR
    after: int = 5 * MINUTE


@dataclass(frozen=True, slots=True)
class Deposit:
    """What is believed of a deposit. `occurred_at` is cut to whole seconds and held within the window;
    `occurred_at_doubted` says that the sender's own lay outside."""

    deposit_id: str
    player_id: str
    amount: Decimal | None
    currency: str | None
    payment_method: str | None
    deposit_index: int | None
    promo_code: str | None
    occurred_at: Instant
    occurred_at_doubted: bool
    received_at: Instant
    rank: int
    approved: bool  # an approval was seen, whatever came after it

    @property
    def negated(self) -> bool:
        return self.rank >= NEGATED


def believed(
    deposit_id: str, player_id: str, messages: Mapping[str, Message], received_at: Instant, window: Window
) -> Deposit:
    """The deposit that `messages` ({status: the first message of that status}) amount to."""
    facts: dict[str, Any] = dict.fromkeys(_FACTS)
    for status in _AUTHORITY:
        message = messages.get(status, {})
        for name in _FACTS:
            if facts[name] is None:
                facts[name] = _told(message, name)
    received = whole_seconds(received_at)
    occurred_at = received if facts["occurred_at"] is None else whole_seconds(facts["occurred_at"])
    doubted = not received - window.before <= occurred_at <= received + window.after
    return Deposit(
        deposit_id=deposit_id,
        player_id=player_id,
        amount=None if facts["amount"] is None else Decimal(facts["amount"]),
        currency=facts["currency"],
        payment_method=facts["payment_method"],
        deposit_index=facts["deposit_index"],
        promo_code=facts["promo_code"],
        occurred_at=received if doubted else occurred_at,
        occurred_at_doubted=doubted,
        received_at=received_at,
        rank=max(RANK[status] for status in messages),
        approved="approved" in messages,
    )


def added(messages: Mapping[str, Message], message: Message) -> tuple[dict[str, Message], bool]:
    """`messages` with one more, and whether that changes anything.

    The first message of a status stands. A later one of the same status only fills what no message has said so far,
    as a payment system does that learns of the promo code late.
    """
    status = message["status"]
    first = messages.get(status)
    if first is None:
        return {**messages, status: message}, True
    missing = {
        name: message[name]
        for name in _FACTS
        if _told(message, name) is not None and all(_told(other, name) is None for other in messages.values())
    }
    return {**messages, status: {**first, **missing}}, bool(missing)


def _told(message: Message, name: str) -> Any:
    """What the message says of a fact. Payment systems without a code in hand send an empty one, or a dash."""
    value = message.get(name)
    return None if name == "promo_code" and not fold(value or "") else value


def highest(messages: Mapping[str, Message]) -> str:
    """The status that rules."""
    return max(messages, key=lambda status: (RANK[status], status))


def contradicts(messages: Mapping[str, Message], message: Message) -> bool:
    """Whether a second approval names another amount or currency than the first (contract section 4.2)."""
    first = messages.get("approved")
    if first is None or message["status"] != "approved":
        return False
    return any(
        first.get(name) is not None and message.get(name) is not None and _other(name, first[name], message[name])
        for name in ("amount", "currency")
    )


def _other(name: str, a: Any, b: Any) -> bool:
    return Decimal(a) != Decimal(b) if name == "amount" else bool(a != b)


def whole_seconds(instant: Instant) -> Instant:
    return instant - instant % SECOND
