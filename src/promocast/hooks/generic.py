"""Any payment system that posts JSON: promocast.toml says where each fact stands and what the statuses are called."""

from __future__ import annotations

from typing import Any, Final

from promocast.hooks import body, facts
from promocast.hooks.body import Event, Path
from promocast.jobs import Deposit
from promocast.settings import HookSettings

_OF_THEIR_OWN: Final = frozenset({"status", "occurred_at", "amount"})


class Generic:
    player_at: Path

    def __init__(self, settings: HookSettings) -> None:
        self._settings = settings
        self._places = {name: tuple(path.split(".")) for name, path in settings.fields.items()}
        self.player_at = self._places["player_id"]

    def read(self, event: Event) -> Deposit | None:
        if any(
            body.word(event, path.split("."), wanted, ignored=None) is None
            for path, wanted in self._settings.only.items()
        ):
            return None
        status = self._status(event)
        if status == "ignored":
            return None
        told: dict[str, Any] = {
            name: body.text(event, path) for name, path in self._places.items() if name not in _OF_THEIR_OWN
        }
        told["status"] = status
        if "occurred_at" in self._places:
            told["occurred_at"] = body.moment(event, self._places["occurred_at"])
        minor_of = (told.get("currency") or self._settings.currency) if self._settings.minor_units else None
        told["amount"] = body.amount(event, self._places["amount"], minor_of=minor_of)
        return facts.deposit(told, self._settings)

    def _status(self, event: Event) -> str:
        statuses = self._settings.statuses
        word = body.word(event, self._places["status"], statuses)
        return statuses[word or ""]
