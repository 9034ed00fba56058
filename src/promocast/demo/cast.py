"""Who plays: the demo's players, and the deposits that they make with what they were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from promocast.demo.world import World

NAMES: Final = (
    "Ann", "Boris", "Carla", "Dimitri", "Elena", "Farid", "Greta", "Hugo", "Ingrid", "Jonas", "Kim", "Lucia",
)  # fmt: skip
# They close the browser before the popup comes up.
AWAY: Final = frozenset({"Kim", "Lucia"})


def player_id(name: str) -> str:
    return str(84_200 + NAMES.index(name))


def recipients(world: World) -> list[dict[str, Any]]:
    """Every player with an address on every channel; half of them have the app, half a browser that takes pushes."""
    found = []
    for i, name in enumerate(NAMES):
        if i % 2:
            subscription = world.push_service.new_subscription()
            keys = {"p256dh": subscription.p256dh, "auth": subscription.auth}
            push = {"kind": "webpush", "subscription": {"endpoint": subscription.endpoint, "keys": keys}}
        else:
            push = {"kind": "fcm", "token": world.fcm.new_device()}
        found.append(
            {
                "player_id": player_id(name),
                "locale": "en",
                "timezone": "Europe/Malta",
                "addresses": {
                    "popup": player_id(name),
                    "email": f"{name.lower()}@example.com",
                    "sms": f"+3569912{3450 + i:04d}",
                    "telegram": str(1_000 + i),
                    "push": [push],
                },
                "attributes": {"first_name": name, "vip_level": i % 4},
            }
        )
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """A deposit message and what must come of it."""

    name: str
    result: str
    reason: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    id: str = ""

    def message(self) -> dict[str, Any]:
        defaults = {"amount": "50.00", "currency": "EUR", "status": "approved", "payment_method": "VISA"}
        return {"deposit_id": self.id, "player_id": player_id(self.name), **defaults, **self.facts}


def rounds(codes: Mapping[str, str]) -> list[list[Told]]:
    """The deposits, given everybody's code by name; each round is told when the one before has been judged."""

    def quoting(name: str, code: str = "", **facts: Any) -> dict[str, Any]:
        return {"promo_code": code or codes[name], **facts}

    first = [
        Told("Ann", "accepted", id="tx-ann", facts=quoting("Ann")),
        Told("Boris", "accepted", id="tx-boris", facts={"amount": "30.00"}),  # quotes nothing: found by the player
        Told("Carla", "accepted", id="tx-carla", facts=quoting("Carla", codes["Carla"].lower().replace("-", " "))),
        Told("Dimitri", "accepted", id="tx-dimitri", facts=quoting("Dimitri", amount="100.00", currency="USD")),
        Told("Jonas", "accepted", id="tx-jonas", facts=quoting("Jonas")),
        Told("Elena", "refused", "below_minimum", quoting("Elena", amount="10.00"), "tx-elena"),
        Told("Farid", "refused", "other_player", quoting("Farid", codes["Ann"]), "tx-farid"),
        Told("Greta", "refused", "wrong_currency", quoting("Greta", currency="GBP"), "tx-greta"),
        Told("Hugo", "refused", "wrong_payment_method", quoting("Hugo", payment_method="CRYPTO"), "tx-hugo"),
        Told("Ingrid", "refused", "unknown_code", quoting("Ingrid", "DEMO-NONE-SUCH"), "tx-ingrid"),
    ]
    second = [
        Told("Ann", "refused", "already_redeemed", quoting("Ann"), "tx-ann-again"),
        Told("Boris", "accepted", id="tx-boris", facts={"amount": "30.00"}),  # told twice: changes nothing
        Told("Jonas", "rolled_back", id="tx-jonas", facts={"status": "rolled_back"}),
    ]
    return [first, second]
