from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from promocast.channels.email import Email
from promocast.channels.http import Http
from promocast.model import HOUR, Clock, Message
from promocast.settings import EmailSettings
from promocast.standins.base import Fault
from promocast.standins.smtp import Phase, SmtpServer
from tests.channels.rig import TIMEOUT, HttpRig

SENDER = "Казино <news@casino.example>"


def answering(at: Phase, reply: str | Fault):
    """A script that says `reply` at one phase and lets the server be itself at all others."""
    return lambda phase, argument: reply if phase == at else None


@asynccontextmanager
async def channel(server: SmtpServer, clock: Clock, **settings: Any) -> AsyncIterator[Email]:
    """An adapter for `server`, with `settings` over what fits it."""
    usual = {"host": "127.0.0.1", "port": server.port, "security": server.security, "sender": SENDER, "timeout": 2_000}
    async with AsyncExitStack() as stack:
        http = Http()
        stack.push_async_callback(http.close)
        email = Email(EmailSettings(**(usual | {"ca_file": server.ca_file} | settings)), http, clock)
        stack.push_async_callback(email.close)
        yield email


def mail(content: dict[str, str] | None = None, address: str = "ann@player.example", key: str = "d-1") -> Message:
    usual = {"subject": "Your code", "text": "AB12CD34\n"}
    return Message(key=key, channel="email", campaign="welcome", address=address, content=usual | (content or {}))


def lines(text: str) -> str:
    """`text` as mail has it: whole lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n") + "\n"


def text_of(part: Any) -> str:
    return str(part.get_content()).replace("\r\n", "\n")


class EmailRig(HttpRig):
    async def start(self) -> None:
        self.server = SmtpServer()
        await self.server.start()
        await self.open_http()
        settings = EmailSettings(
            host="127.0.0.1",
            port=self.server.port,
            security="none",
            sender="Casino <news@casino.example>",
            timeout=TIMEOUT,
            final_dot_timeout=TIMEOUT,
        )
        self.channel = Email(settings, self.http, self.clock)

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        await self.server.stop()

    def message(self, key: str = "d-test-1") -> Message:
        return Message(
            key=key,
            channel="email",
            campaign="welcome",
            address="ann@player.example",
            content={
                "subject": "Привет, Ann",
                "text": "Your code: AB12CD34\n",
                "html": "<p>Your code: <b>AB12CD34</b></p>\n",
            },
            player_id="84213",
            code="AB12CD34",
            locale="en",
            when_shown="CODE_IS_SHOWN",
            expires_at=self.clock() + HOUR,
        )

    def received(self) -> int:
        return len(self.server.messages)

    def keys(self) -> list[str]:
        return [mail.parsed()["Message-ID"] for mail in self.server.messages]

    def throttle(self) -> None:
        self.server.script = answering("rcpt", "450 4.7.1 <ann@player.example>: greylisted, try again later")

    def hang(self) -> None:
        self.server.script = answering("dot", Fault.HANG)

    def drop(self) -> None:
        self.server.script = answering("dot", Fault.DROP)

    def misconfigure(self) -> None:
        self.server.script = answering("mail", "553 5.7.1 <news@casino.example>: not yours to send from")

    def dead_address(self) -> bool:
        self.server.script = answering("rcpt", "550 5.1.1 <ann@player.example>: no such mailbox")
        return True

    async def unreachable(self) -> None:
        await self.server.stop()
