from __future__ import annotations

from pydantic import SecretStr

from promocast.channels.webpush import WebPush
from promocast.model import HOUR, Message
from promocast.settings import WebPushSettings
from promocast.standins.base import Fault, Reply
from promocast.standins.webpush import PushService, vapid_private_key
from tests.channels.rig import TIMEOUT, HttpRig


class WebPushRig(HttpRig):
    async def start(self) -> None:
        self.service = PushService(self.clock)
        await self.service.start()
        self.subscription = self.service.new_subscription()
        await self.open_http()
        self.channel = WebPush(self.settings(origins=(self.service.url,)), self.http, self.clock)

    def settings(self, origins: tuple[str, ...]) -> WebPushSettings:
        return WebPushSettings(
            private_key=SecretStr(vapid_private_key()),
            subject="mailto:crm@example.com",
            origins=origins,
            allow_private=True,
            timeout=TIMEOUT,
        )

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        await self.service.stop()

    def message(self, key: str = "d-test-1") -> Message:
        return Message(
            key=key,
            channel="push",
            campaign="welcome",
            address=self.subscription,
            content={"title": "Привет, Ann", "body": "Your code: AB12CD34", "link": "https://example.com/welcome"},
            player_id="84213",
            code="AB12CD34",
            locale="en",
            expires_at=self.clock() + HOUR,
        )

    def received(self) -> int:
        return len(self.service.requests)

    def keys(self) -> list[str]:
        return [request.headers["topic"] for request in self.service.requests]

    def throttle(self) -> None:
        self.service.script = lambda request: Reply(429, headers={"retry-after": "7"})

    def hang(self) -> None:
        self.service.script = lambda request: Fault.HANG

    def drop(self) -> None:
        self.service.script = lambda request: Fault.DROP

    def misconfigure(self) -> None:
        self.service.script = lambda request: Reply(403)

    def dead_address(self) -> bool:
        self.service.drop(self.subscription)
        return True

    async def unreachable(self) -> None:
        await self.service.stop()
