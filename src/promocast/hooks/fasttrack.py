"""Fast Track's payment events (fasttrack-solutions.com/en/resources/integration/real-time-data/payments).

A rollback is the same `payment_id` with another status. `Debit` is a withdrawal. `exchange_rate` leads to the casino's
base currency; deposits are judged in their own, so it is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from promocast.errors import Fault
from promocast.hooks import body, facts
from promocast.hooks.body import Event, Path, Unreadable
from promocast.jobs import Deposit
from promocast.settings import HookSettings

_STATUSES: Final[Mapping[str, str]] = {
    "Requested": "requested",
    "Approved": "approved",
    "Rejected": "rejected",
    "Cancelled": "cancelled",
    "Rollback": "rolled_back",
}


class FastTrack:
    player_at: Path = ("user_id",)

    def __init__(self, settings: HookSettings) -> None:
        self._settings = settings

    def read(self, event: Event) -> Deposit | None:
        if body.word(event, ("type",), ("Credit",), ignored=("Debit",)) is None:
            return None
        status = body.word(event, ("status",), _STATUSES)
        told: dict[str, Any] = {
            "deposit_id": body.text(event, ("payment_id",)),
            "player_id": body.text(event, self.player_at),
            "status": _STATUSES[status or ""],
            "amount": body.amount(event, ("amount",)),
            "currency": body.text(event, ("currency",)),
            "payment_method": body.text(event, ("vendor_name",)),
            "occurred_at": body.moment(event, ("timestamp",)),
            "promo_code": body.text(event, ("bonus_code",)),
        }
        missing = [name for name in ("amount", "currency") if told[name] is None]
        if missing and not (missing == ["currency"] and self._settings.currency):
            raise Unreadable(*(Fault(f"/{name}", "is missing") for name in missing))
        return facts.deposit(told | facts.further(event, self._settings), self._settings)
