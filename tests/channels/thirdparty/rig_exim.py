from __future__ import annotations

from dataclasses import replace

from pydantic import SecretStr

from promocast.channels.email import Email
from promocast.model import Message
from promocast.settings import EmailSettings
from tests.channels.rig_email import EmailRig
from tests.channels.thirdparty.exim import PASSWORD, USER, Exim

# TLS and the password are checked by processes that Exim starts for it.
TIMEOUT = 2_500


class EximRig(EmailRig):
    """The channel suite's email against Exim: STARTTLS, AUTH, and a process of the server's for every connection."""

    async def start(self) -> None:
        self.exim = Exim()
        self.exim.start()
        self._to = "ann@player.example"
        await self.open_http()
        self.channel = self._email(PASSWORD)

    async def stop(self) -> None:
        await self.channel.close()
        await self.close_http()
        self.exim.close()

    def message(self, key: str = "d-test-1") -> Message:
        return replace(super().message(key), address=self._to)

    def received(self) -> int:
        return len(self.keys())

    def keys(self) -> list[str]:
        return self.exim.arrived()

    def throttle(self) -> None:
        self._to = "grey@player.example"

    def hang(self) -> None:
        self._to = "slow@player.example"

    def drop(self) -> None:
        self._to = "crash@player.example"

    def misconfigure(self) -> None:
        self.channel = self._email("wrong")

    def dead_address(self) -> bool:
        self._to = "dead@player.example"
        return True

    async def unreachable(self) -> None:
        self.exim.stop()

    def _email(self, password: str) -> Email:
        settings = EmailSettings(
            host="127.0.0.1",
            port=self.exim.port,
            ca_file=self.exim.ca_file,
            username=USER,
            password=SecretStr(password),
            sender="Casino <news@casino.example>",
            timeout=TIMEOUT,
            final_dot_timeout=TIMEOUT,
        )
        return Email(settings, self.http, self.clock)
