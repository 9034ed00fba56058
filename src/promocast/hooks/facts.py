"""What the presets have in common: from facts to a deposit."""

from __future__ import annotations

from typing import Any

from promocast import jobs
from promocast.hooks import body
from promocast.hooks.body import Event
from promocast.jobs import Deposit
from promocast.settings import HookSettings


def further(event: Event, settings: HookSettings) -> dict[str, str]:
    """The facts for which the operator has told a place of their own, where they are there."""
    told = {name: body.text(event, path.split(".")) for name, path in settings.fields.items()}
    return {name: value for name, value in told.items() if value is not None}


def deposit(told: dict[str, Any], settings: HookSettings) -> Deposit:
    """The deposit of these facts, its id under the source's prefix.

    Raises:
        InputError: they make no deposit; with a pointer for each fault, by our names for the facts.
    """
    facts = {name: value for name, value in told.items() if value is not None}
    if "deposit_id" in facts:
        facts["deposit_id"] = settings.id_prefix + facts["deposit_id"]
    if "currency" not in facts and settings.currency:
        facts["currency"] = settings.currency
    # What undoes a deposit may give its amount with the sign of its direction, and must not be lost for that.
    if facts.get("status") == "rolled_back" and "amount" in facts:
        facts["amount"] = facts["amount"].removeprefix("-")
    return jobs.read_deposit(facts)
