from __future__ import annotations

from pydantic import SecretStr

from promocast.channels.sms import Sms
from promocast.model import HOUR, Instant, Message
from promocast.settings import SmsSettings
from promocast.standins.base import Fault, Reply
from promocast.standins.twilio import TwilioApi, form, refusal
from tests.channels.rig import TIMEOUT, HttpRig

ACCOUNT = "AC00000000000000000000000000000001"
TOKEN = "0123456789abcdef0123456789abcdef"
NUMBER = "+35699123456"
SENDER = "+35699000001"


class SmsRig(HttpRig):
    async def start(self) -> None:
        self.site = TwilioApi(ACCOUNT, TOKEN, self.clock)
        await self.site.start()
        await self.open_http()
        self.channel = Sms(self.settings(), self.http, self.clock)

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        await self.site.stop()

    def settings(self, sender: str = SENDER, messaging_service_sid: str = "", token: str = TOKEN) -> SmsSettings:
        return SmsSettings(
            account_sid=ACCOUNT,
            auth_token=SecretStr(token),
            sender=sender,
            messaging_service_sid=messaging_service_sid,
            base_url=self.site.url,
            timeout=TIMEOUT,
        )

    def message(
        self,
        key: str = "d-test-1",
        address: str = NUMBER,
        text: str = "Привет, Ann: AB12CD34",
        life: Instant | None = HOUR,
    ) -> Message:
        return Message(
            key=key,
            channel="sms",
            campaign="welcome",
            address=address,
            content={"text": text},
            player_id="84213",
            code="AB12CD34",
            locale="en",
            expires_at=None if life is None else self.clock() + life,
        )

    def received(self) -> int:
        return len(self.site.requests)

    def keys(self) -> list[str]:
        return [form(request)["To"] for request in self.site.requests]

    def can_tell_repetitions(self) -> bool:
        return False

    def throttle(self) -> None:
        busy = refusal(429, 20429, "Too Many Requests")
        self.site.script = lambda request: Reply(429, busy.body, {**busy.headers, "retry-after": "7"})

    def hang(self) -> None:
        self.site.script = lambda request: Fault.HANG

    def drop(self) -> None:
        self.site.script = lambda request: Fault.DROP

    def misconfigure(self) -> None:
        self.site.script = lambda request: refusal(401, 20003, "Authenticate")

    def dead_address(self) -> bool:
        self.site.script = lambda request: refusal(400, 21211, "Invalid 'To' Phone Number")
        return True

    async def unreachable(self) -> None:
        await self.site.stop()
