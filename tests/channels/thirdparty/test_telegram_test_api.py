"""Telegram against telegram-test-api. It takes sendMessage as the Bot API does, and answers with a date in milliseconds
where the Bot API has seconds: an acceptance that the client library cannot read."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from promocast.channels.http import Http
from promocast.channels.telegram import Telegram
from promocast.model import Failed, Message, system_clock
from promocast.settings import TelegramSettings
from tests.channels.thirdparty.node import serving

pytestmark = pytest.mark.anyio

TOKEN = "700100:AAtesttesttesttesttesttesttesttest"


def history(url: str) -> list[tuple[str, str]]:
    """[(chat, text)] of what the bot has sent."""
    answer = httpx.post(f"{url}/getUpdatesHistory", json={"token": TOKEN}, trust_env=False).json()
    return [(entry["message"]["chat_id"], entry["message"]["text"]) for entry in answer["result"]]


async def test_it_takes_a_message_once_and_what_it_says_of_it_makes_it_unknown() -> None:
    http = Http()
    with serving("telegram") as url:
        channel = Telegram(TelegramSettings(token=SecretStr(TOKEN), base_url=f"{url}/bot"), http, system_clock)
        text = "Привет, Ann: AB12CD34 <&>"
        message = Message(key="d-1", channel="telegram", campaign="welcome", address="84213", content={"text": text})
        outcome = await channel.send(message)
        taken = history(url)
        await channel.close()
        await http.close()

    assert taken == [("84213", text)]
    assert outcome == Failed("telegram 200 unreadable", maybe_sent=True)
