"""Telegram's updates by webhook (core.telegram.org/bots/api#setwebhook): who blocked the bot, and who is back.

Of all updates three are of interest: `my_chat_member` (the bot was blocked, removed, or let in again), a private
message (whoever writes to the bot can be written to), and a group that became a supergroup. Telegram repeats an update
until it is answered with 2xx, so each is told with its own time: older news never undoes newer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promocast.callbacks import Callback, Unproven, Unreadable, same
from promocast.model import SECOND, Moved, Reachability, Told
from promocast.settings import TelegramSettings

_HEADER: Final = "x-telegram-bot-api-secret-token"
# ChatMember.status (core.telegram.org/bots/api#chatmember) of a bot that can no longer write to the chat.
_OUT: Final = frozenset({"kicked", "left"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Chat(_Part):
    id: int
    type: Literal["private", "group", "supergroup", "channel"]


class _Member(_Part):
    status: str


class _Membership(_Part):
    chat: _Chat
    date: Annotated[int, Field(ge=0, lt=1 << 40)]
    new_chat_member: _Member


class _Message(_Part):
    chat: _Chat
    date: Annotated[int, Field(ge=0, lt=1 << 40)]
    migrate_to_chat_id: int | None = None


class _Update(_Part):
    update_id: int
    my_chat_member: _Membership | None = None
    message: _Message | None = None


class Telegram:
    def __init__(self, settings: TelegramSettings) -> None:
        self._secret = settings.callback_secret.get_secret_value()

    def read(self, callback: Callback) -> Sequence[Told]:
        if not same(callback.header(_HEADER), self._secret):
            raise Unproven
        try:
            update = _Update.model_validate_json(callback.body)
        except ValidationError:
            raise Unreadable("no Update of the Bot API") from None
        if update.my_chat_member is not None:
            return (_membership(update.my_chat_member),)
        message = update.message
        if message is None:
            return ()
        if message.migrate_to_chat_id is not None:
            return (Moved("telegram", str(message.chat.id), str(message.migrate_to_chat_id)),)
        if message.chat.type == "private":
            return (_reachable(message.chat, message.date, "wrote to the bot"),)
        return ()


def _membership(change: _Membership) -> Reachability:
    if change.new_chat_member.status in _OUT:
        why = "telegram blocked" if change.chat.type == "private" else "telegram removed"
        return Reachability("telegram", str(change.chat.id), reachable=False, why=why, at=change.date * SECOND)
    return _reachable(change.chat, change.date, "let the bot in")


def _reachable(chat: _Chat, date: int, why: str) -> Reachability:
    return Reachability("telegram", str(chat.id), reachable=True, why=why, at=date * SECOND)


__all__ = ["Telegram"]
