from __future__ import annotations

from pydantic import SecretStr

from promocast.channels.signed_post import Popup
from promocast.model import HOUR, Message
from promocast.settings import PopupSettings
from promocast.signing import new_webhook_secret
from promocast.standins.base import Fault, Reply
from promocast.standins.popup import PopupSite
from tests.channels.rig import TIMEOUT, HttpRig


class PopupRig(HttpRig):
    async def start(self) -> None:
        secret = new_webhook_secret(bytes(range(32)))
        self.site = PopupSite(secret)
        await self.site.start()
        await self.open_http()
        settings = PopupSettings(url=self.site.url + "/popups", secrets=(SecretStr(secret),), timeout=TIMEOUT)
        self.channel = Popup(settings, self.http, self.clock)

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        await self.site.stop()

    def message(self, key: str = "d-test-1") -> Message:
        return Message(
            key=key,
            channel="popup",
            campaign="welcome",
            address="84213",
            content={"title": "Привет, Ann", "body": "Your code: AB12CD34"},
            player_id="84213",
            code="AB12CD34",
            locale="en",
            when_shown="CODE_IS_SHOWN",
            expires_at=self.clock() + HOUR,
        )

    def received(self) -> int:
        return len(self.site.requests)

    def keys(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.site.requests]

    def throttle(self) -> None:
        self.site.script = lambda request: Reply(429, headers={"retry-after": "7"})

    def hang(self) -> None:
        self.site.script = lambda request: Fault.HANG

    def drop(self) -> None:
        self.site.script = lambda request: Fault.DROP

    def misconfigure(self) -> None:
        self.site.script = lambda request: Reply(410)

    async def unreachable(self) -> None:
        await self.site.stop()
