from __future__ import annotations

from collections.abc import Callable

import orjson
from pydantic import SecretStr

from promocast.channels.fcm import Fcm
from promocast.model import HOUR, Message
from promocast.settings import FcmSettings
from promocast.standins.base import Fault, Reply, Script
from promocast.standins.fcm import FcmServer, error, is_send
from tests.channels.rig import TIMEOUT, HttpRig


class FcmRig(HttpRig):
    async def start(self) -> None:
        self.server = FcmServer(self.clock)
        await self.server.start()
        self.device = self.server.new_device()
        await self.open_http()
        settings = FcmSettings(
            credentials=SecretStr(self.server.service_account_json()), base_url=self.server.url, timeout=TIMEOUT
        )
        self.channel = Fcm(settings, self.http, self.clock)

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        await self.server.stop()

    def message(self, key: str = "d-test-1") -> Message:
        return Message(
            key=key,
            channel="push",
            campaign="welcome",
            address=self.device,
            content={"title": "Привет, Ann", "body": "Your code: AB12CD34", "link": "https://example.com/welcome"},
            player_id="84213",
            code="AB12CD34",
            locale="en",
            expires_at=self.clock() + HOUR,
        )

    def received(self) -> int:
        return len(self.server.sends)

    def keys(self) -> list[str]:
        return [orjson.loads(request.body)["message"]["android"]["collapse_key"] for request in self.server.sends]

    def throttle(self) -> None:
        self.server.script = to_sends(lambda: error(429, "RESOURCE_EXHAUSTED"))

    def hang(self) -> None:
        self.server.script = to_sends(lambda: Fault.HANG)

    def drop(self) -> None:
        self.server.script = to_sends(lambda: Fault.DROP)

    def misconfigure(self) -> None:
        self.server.script = to_sends(lambda: error(403, "PERMISSION_DENIED"))

    def dead_address(self) -> bool:
        self.server.forget(self.device)
        return True

    async def unreachable(self) -> None:
        await self.server.stop()


def to_sends(answer: Callable[[], Reply | Fault]) -> Script:
    """A script for messages:send; the token endpoint goes on answering."""
    return lambda request: answer() if is_send(request) else None
