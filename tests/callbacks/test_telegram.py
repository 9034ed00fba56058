"""Telegram's updates: who blocked the bot, who is back, and which group has another number."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from promocast.callbacks import Callback, Unproven, Unreadable
from promocast.callbacks.telegram import Telegram
from promocast.model import Moved, Reachability
from promocast.settings import TelegramSettings

SECRET = "s3cret_token"
DATE = 1_795_514_400
PRIVATE = {"id": 1001, "type": "private", "first_name": "Ann"}
GROUP = {"id": -5551234, "type": "group", "title": "VIPs"}


@pytest.fixture
def reader() -> Telegram:
    return Telegram(TelegramSettings(callback_secret=SecretStr(SECRET)))


def update(secret: str | None = SECRET, **facts: Any) -> Callback:
    headers = {} if secret is None else {"x-telegram-bot-api-secret-token": secret}
    return Callback("/v1/callbacks/telegram", headers, json.dumps({"update_id": 9, **facts}).encode())


def membership(status: str, chat: dict[str, Any]) -> dict[str, Any]:
    bot = {"id": 42, "is_bot": True, "first_name": "Promo"}
    return {
        "chat": chat,
        "from": {"id": 1001, "is_bot": False, "first_name": "Ann"},
        "date": DATE,
        "old_chat_member": {"user": bot, "status": "member"},
        "new_chat_member": {"user": bot, "status": status},
    }


@pytest.mark.parametrize(
    ("chat", "status", "reachable", "why"),
    [
        (PRIVATE, "kicked", False, "telegram blocked"),
        (PRIVATE, "member", True, "let the bot in"),
        (GROUP, "kicked", False, "telegram removed"),
        (GROUP, "left", False, "telegram removed"),
        (GROUP, "administrator", True, "let the bot in"),
    ],
)
def test_a_bot_that_is_put_out_or_let_in(
    reader: Telegram, chat: dict[str, Any], status: str, reachable: bool, why: str
) -> None:
    told = reader.read(update(my_chat_member=membership(status, chat)))

    assert told == (Reachability("telegram", str(chat["id"]), reachable, why, at=DATE * 1000),)


@pytest.mark.parametrize("text", ["/start", "/start promo-7", "hello"])
def test_whoever_writes_to_the_bot_can_be_written_to(reader: Telegram, text: str) -> None:
    message = {"message_id": 3, "chat": PRIVATE, "date": DATE, "text": text}

    told = reader.read(update(message=message))

    assert told == (Reachability("telegram", "1001", reachable=True, why="wrote to the bot", at=DATE * 1000),)


def test_a_group_that_became_a_supergroup_has_moved(reader: Telegram) -> None:
    message = {"message_id": 3, "chat": GROUP, "date": DATE, "migrate_to_chat_id": -1001234567890}

    assert reader.read(update(message=message)) == (Moved("telegram", "-5551234", "-1001234567890"),)


@pytest.mark.parametrize(
    "facts",
    [{}, {"message": {"message_id": 3, "chat": GROUP, "date": DATE, "text": "hi"}}, {"poll": {"id": "1"}}],
    ids=["nothing", "talk in a group", "another kind"],
)
def test_other_updates_say_nothing_of_interest(reader: Telegram, facts: dict[str, Any]) -> None:
    assert reader.read(update(**facts)) == ()


@pytest.mark.parametrize("secret", [None, "", "s3cret_toke", "s3cret_token2", "секрет"])
def test_without_the_secret_it_is_not_telegram(reader: Telegram, secret: str | None) -> None:
    with pytest.raises(Unproven):
        reader.read(update(secret))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"update_id": "x"}', b'{"update_id": 1, "message": {"chat": 5}}'])
def test_what_is_no_update_is_told_apart(reader: Telegram, body: bytes) -> None:
    with pytest.raises(Unreadable):
        reader.read(Callback("/", {"x-telegram-bot-api-secret-token": SECRET}, body))
