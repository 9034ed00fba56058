"""Smartico's events (docs: "Events API"): an envelope with a payload of properties.

A deposit has no property for a code that the player quoted; where the casino adds one, `fields.promo_code` says where.
"""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from promocast import reading
from promocast.errors import Fault, InputError
from promocast.hooks import body, facts
from promocast.hooks.body import Event, Path, Unreadable
from promocast.jobs import ClientAction, Deposit
from promocast.settings import HookSettings

# Both spellings are in use, for the same event.
_DEPOSIT_EVENTS: Final = ("acc_deposit_approved", "acc_deposit_approve")
_ACTION_EVENT: Final = "client_action"


class Smartico:
    player_at: Path = ("user_ext_id",)

    def __init__(self, settings: HookSettings) -> None:
        self._settings = settings

    def read(self, event: Event) -> Deposit | ClientAction | None:
        match body.word(event, ("event_type",), (*_DEPOSIT_EVENTS, _ACTION_EVENT), ignored=None):
            case None:
                return None
            case "client_action":
                return self._action(event)
            case _:
                return self._deposit(event)

    def _deposit(self, event: Event) -> Deposit:
        rolled_back = body.flag(event, ("payload", "acc_is_rollback"))
        amount = body.amount(event, ("payload", "acc_last_deposit_amount"))
        if amount is None and not rolled_back:
            raise Unreadable(Fault("/payload/acc_last_deposit_amount", "is missing"))
        occurred_at = body.moment(event, ("payload", "acc_last_deposit_date"))
        told = {
            "deposit_id": body.text(event, ("payload", "acc_last_transaction_id")),
            "player_id": body.text(event, self.player_at),
            "status": "rolled_back" if rolled_back else "approved",
            "amount": amount,
            "currency": body.text(event, ("payload", "core_wallet_currency")),
            "payment_method": body.text(event, ("payload", "acc_last_deposit_payment_method")),
            "occurred_at": body.moment(event, ("event_date",)) if occurred_at is None else occurred_at,
        }
        return facts.deposit(told | facts.further(event, self._settings), self._settings)

    def _action(self, event: Event) -> ClientAction | None:
        code = body.at(event, ("payload", "code"))
        if code is None:
            return None  # an action that has nothing to do with codes
        eid = body.text(event, ("eid",))
        told = {
            "eid": eid and self._settings.id_prefix + eid,
            "event_date": body.moment(event, ("event_date",)),
            "user_ext_id": body.text(event, self.player_at),
            "event_type": _ACTION_EVENT,
            "payload": {
                "client_action": body.text(event, ("payload", "client_action")),
                "code": body.text(event, ("payload", "code")),
            },
        }
        try:
            return ClientAction.model_validate(told)
        except ValidationError as exc:
            raise InputError("invalid_client_action", "No client action.", reading.pointers(exc)) from None
