"""The flow itself, over the HTTP API as a CRM, a website and a payment system would speak to it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import httpx

from promocast.demo import cast
from promocast.demo.cast import Told
from promocast.demo.world import World
from promocast.errors import PromocastError
from promocast.model import PLAYER_CHANNELS

T = TypeVar("T")

REQUEST: Final = "demo-1"
LOOK_EVERY: Final = 0.1
PATIENCE: Final = 60.0

# Called with what is known so far, whenever more is.
Watcher = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Play:
    """One run. `codes` is what the website has shown to whom, by the player's name."""

    api: httpx.AsyncClient
    world: World
    watch: Watcher
    codes: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> dict[str, Any]:
        """The summary of contract section 7.

        Raises:
            PromocastError: something did not come about in time, or the API refused.
        """
        recipients = cast.recipients(self.world)
        await self._ask("POST", "/v1/issue", {"request_id": REQUEST, "campaign": "demo", "recipients": recipients})
        seen = len(cast.NAMES) - len(cast.AWAY)
        await self._until("codes issued and sent", lambda r: r["issued"] == len(cast.NAMES) and r["due"] == 0)
        await self._until("popups shown", lambda r: r["shown"] == seen)
        verdicts: dict[str, dict[str, Any]] = {}
        for told in cast.rounds(self.codes):
            await self._ask("POST", "/v1/deposits", [deposit.message() for deposit in told])
            verdicts |= await self._verdicts(told)
        redeemed = sum(verdict["result"] in ("accepted", "rolled_back") for verdict in verdicts.values())
        await self._until("calls made", lambda _: len(self.world.bonus_engine.bodies) == redeemed)
        return await self._summary(verdicts)

    async def show(self, popup: dict[str, Any]) -> None:
        """What the player's browser does with a popup: show it, and report its action."""
        name = cast.NAMES[int(popup["player_id"]) - int(cast.player_id(cast.NAMES[0]))]
        self.codes[name] = popup["code"]
        if name not in cast.AWAY:
            action = {
                "eid": f"shown-{popup['delivery_id']}",
                "event_date": int(time.time() * 1000),
                "user_ext_id": popup["player_id"],
                "event_type": "client_action",
                "payload": {"client_action": popup["when_shown"], "code": popup["code"]},
            }
            await self._ask("POST", "/v1/events/client-action", action)

    async def _verdicts(self, told: list[Told]) -> dict[str, dict[str, Any]]:
        """The deposits' verdicts, once they are final and those that they must be.

        Raises:
            PromocastError: one is another.
        """
        expected = {deposit.id: deposit for deposit in told}

        async def judged() -> dict[str, dict[str, Any]] | None:
            found = {i: (await self._ask("GET", f"/v1/deposits/{i}"))["verdict"] for i in expected}
            return found if all(map(_is_final, found.values(), expected.values())) else None

        verdicts = await self._eventually("deposits judged", judged)
        for deposit_id, verdict in verdicts.items():
            deposit = expected[deposit_id]
            if (verdict["result"], verdict["reason"]) != (deposit.result, deposit.reason):
                raise PromocastError(
                    f"Deposit {deposit_id} was {verdict['result']} ({verdict['reason']}), not as told."
                )
        return verdicts

    async def _summary(self, verdicts: dict[str, dict[str, Any]]) -> dict[str, Any]:
        request = await self._ask("GET", f"/v1/requests/{REQUEST}")
        channels = request["channels"]
        refused = Counter(verdict["reason"] for verdict in verdicts.values() if verdict["result"] == "refused")
        return {
            "issued": request["issued"],
            "sent": {channel: channels.get(channel, {}).get("sent", 0) for channel in PLAYER_CHANNELS},
            "shown": request["shown"],
            "redeemed": request["redeemed"],
            "refused": dict(sorted(refused.items())),
            "unsent": request["due"],
            "seconds": round(time.monotonic() - self.started, 2),
        }

    async def _until(self, what: str, reached: Callable[[dict[str, Any]], bool]) -> None:
        async def look() -> dict[str, Any] | None:
            found = await self._ask("GET", f"/v1/requests/{REQUEST}")
            self.watch(found)
            return found if reached(found) else None

        await self._eventually(what, look)

    async def _eventually(self, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        deadline = time.monotonic() + PATIENCE
        while (found := await look()) is None:
            if time.monotonic() > deadline:
                raise PromocastError(f"The demo waited {PATIENCE:.0f} s for: {what}.")
            await asyncio.sleep(LOOK_EVERY)
        return found

    async def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = await self.api.request(method, path, json=body)
        if response.status_code >= 300:
            raise PromocastError(f"{method} {path} was answered {response.status_code}: {response.text}")
        return dict(response.json())


def _is_final(verdict: dict[str, Any] | None, told: Told) -> bool:
    # A rollback is told of a deposit that was judged before: until it is, the old verdict stands.
    undone = told.result == "rolled_back"
    return verdict is not None and (verdict["result"] == "rolled_back" if undone else verdict["result"] != "waiting")


def as_expected(summary: dict[str, Any]) -> bool:
    """Whether everything that the demo sets out to do has happened."""
    players = len(cast.NAMES)
    return bool(
        summary["issued"] == players
        and all(count == players for count in summary["sent"].values())
        and summary["shown"] == players - len(cast.AWAY)
        and summary["redeemed"] == 4
        and len(summary["refused"]) >= 3
        and summary["unsent"] == 0
    )
