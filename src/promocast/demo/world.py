"""The demo's world: every provider, the operator's own systems, and the settings that lead to them."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from promocast.signing import new_webhook_secret
from promocast.standins.endpoint import Endpoint
from promocast.standins.fcm import FcmServer
from promocast.standins.popup import PopupSite
from promocast.standins.smtp import SmtpServer
from promocast.standins.telegram import TelegramBotApi
from promocast.standins.twilio import TwilioApi
from promocast.standins.webpush import PushService, vapid_private_key

BOT_TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"  # noqa: S105 - the example of Telegram's documentation
ACCOUNT_SID = "AC" + "d" * 32


# Below those that systems hand out by themselves (Linux from 32768 on): what is free now is not taken by an outgoing
# connection before its server listens.
_PORTS = range(20_000, 32_000)


class World:
    """Stand-ins on loopback ports, started with `async with`; each has credentials made for this run."""

    def __init__(self) -> None:
        self._secrets = {name: new_webhook_secret(os.urandom(32)) for name in ("popup", "crm", "bonus-engine")}
        self._mail_password = os.urandom(12).hex()
        self._twilio_token = os.urandom(16).hex()
        self._vapid = vapid_private_key()
        self.site = PopupSite(self._secrets["popup"])
        self.crm = Endpoint(self._secrets["crm"])
        self.bonus_engine = Endpoint(self._secrets["bonus-engine"])
        self.mail = SmtpServer(security="starttls", username="promocast", password=self._mail_password)
        self.fcm = FcmServer()
        self.push_service = PushService()
        self.telegram = TelegramBotApi(BOT_TOKEN)
        self.twilio = TwilioApi(ACCOUNT_SID, self._twilio_token)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        everyone = (
            self.site, self.crm, self.bonus_engine, self.mail, self.fcm, self.push_service, self.telegram, self.twilio,
        )  # fmt: skip
        for standin in everyone:
            await self._stack.enter_async_context(standin)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    def write_config(self, folder: Path, api_port: int) -> Path:
        """promocast.toml and the demo's campaign, as an operator would write them; the path of the former."""
        shutil.copytree(Path(__file__).parent / "config", folder / "config")
        path = folder / "config" / "promocast.toml"
        path.write_text(_toml(self._settings(folder, api_port)), encoding="utf-8")
        path.chmod(0o600)
        return path

    def _settings(self, folder: Path, api_port: int) -> dict[str, dict[str, Any]]:
        secrets = self._secrets
        return {
            "": {"data_dir": str(folder / "data")},
            "api": {"port": api_port},
            "queue": {"port": free_port()},
            "metrics": {"port": free_port()},
            # Short, so that the deposit that quotes an unknown code need not be waited for.
            "verification": {"grace": "2s"},
            "log": {"level": "warning"},
            "channels.popup": {"url": f"{self.site.url}/popups", "secrets": [secrets["popup"]], "allow_private": True},
            "channels.email": {
                "host": "127.0.0.1",
                "port": self.mail.port,
                "ca_file": str(self.mail.ca_file),
                "username": "promocast",
                "password": self._mail_password,
                "sender": "Demo Casino <codes@casino.example>",
            },
            "channels.push.fcm": {"credentials": self.fcm.service_account_json(), "base_url": self.fcm.url},
            "channels.push.webpush": {
                "private_key": self._vapid,
                "subject": "mailto:push@casino.example",
                "allow_private": True,
            },
            "channels.telegram": {"token": BOT_TOKEN, "base_url": f"{self.telegram.url}/bot", "rate": 0},
            "channels.sms": {
                "account_sid": ACCOUNT_SID,
                "auth_token": self._twilio_token,
                "sender": "+15005550006",
                "base_url": self.twilio.url,
            },
            "endpoints.crm": {"url": f"{self.crm.url}/codes", "secrets": [secrets["crm"]], "allow_private": True},
            "endpoints.bonus-engine": {
                "url": f"{self.bonus_engine.url}/bonuses",
                "secrets": [secrets["bonus-engine"]],
                "allow_private": True,
            },
        }


def free_port(wanted: int = 0) -> int:
    """`wanted` if nobody listens there, else some free port of the loopback interface."""
    others = random.SystemRandom().sample(_PORTS, 100)
    for port in (wanted, *others) if wanted else others:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def _toml(sections: dict[str, dict[str, Any]]) -> str:
    """TOML of plain values: its strings, numbers, booleans and arrays are written as JSON's are."""
    lines: list[str] = []
    for name, values in sections.items():
        if name:
            lines.append(f"\n[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
