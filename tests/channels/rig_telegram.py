from __future__ import annotations

from pydantic import SecretStr

from promocast.channels.telegram import Telegram
from promocast.model import HOUR, Message
from promocast.settings import TelegramSettings
from promocast.standins.base import Fault
from promocast.standins.telegram import TelegramBotApi, parameters, refusal
from tests.channels.rig import TIMEOUT, HttpRig

TOKEN = "700100:AAtesttesttesttesttesttesttesttest"
CHAT = "700100200300"


class TelegramRig(HttpRig):
    async def start(self) -> None:
        self.site = TelegramBotApi(TOKEN, self.clock)
        await self.site.start()
        await self.open_http()
        settings = TelegramSettings(token=SecretStr(TOKEN), base_url=self.site.url + "/bot", timeout=TIMEOUT)
        self.channel = Telegram(settings, self.http, self.clock)

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        await self.site.stop()

    def message(self, key: str = "d-test-1", address: str = CHAT, text: str = "Привет, Ann: AB12CD34") -> Message:
        return Message(
            key=key,
            channel="telegram",
            campaign="welcome",
            address=address,
            content={"text": text},
            player_id="84213",
            code="AB12CD34",
            locale="en",
            expires_at=self.clock() + HOUR,
        )

    def received(self) -> int:
        return len(self.site.requests)

    def keys(self) -> list[str]:
        return [parameters(request)["chat_id"] for request in self.site.requests]

    def can_tell_repetitions(self) -> bool:
        return False

    def throttle(self) -> None:
        self.site.script = lambda request: refusal(429, "Too Many Requests: retry after 7", {"retry_after": 7})

    def hang(self) -> None:
        self.site.script = lambda request: Fault.HANG

    def drop(self) -> None:
        self.site.script = lambda request: Fault.DROP

    def misconfigure(self) -> None:
        self.site.script = lambda request: refusal(401, "Unauthorized")

    def dead_address(self) -> bool:
        self.site.unknown.add(CHAT)
        return True

    async def unreachable(self) -> None:
        await self.site.stop()
