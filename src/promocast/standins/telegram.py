"""Telegram's Bot API, as far as sendMessage: the token, the text's length, and who can be written to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from promocast.model import SECOND, Clock, system_clock
from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script

LONGEST_TEXT: Final = 4096

_CHAT = re.compile(r"-?\d+|@\w+")
_PATH = re.compile(r"/bot(?P<token>[^/]+)/(?P<method>\w+)")


class TelegramBotApi(HttpStandin):
    """Takes messages for any chat but those in `blocked` and `unknown` (chat ids as text).

    `migrated` maps a group's id to that of the supergroup it has become. `messages` holds what was taken, as
    (chat id, text). An adapter's `base_url` for it is `url + "/bot"`.
    """

    def __init__(self, token: str, clock: Clock = system_clock, script: Script | None = None) -> None:
        super().__init__(script)
        self.messages: list[tuple[str, str]] = []
        self.blocked: set[str] = set()
        self.unknown: set[str] = set()
        self.migrated: dict[str, int] = {}
        self._token = token
        self._clock = clock

    async def answer(self, request: Received) -> Reply | Fault:
        path = _PATH.fullmatch(request.path)
        if path is None:
            return refusal(404, "Not Found")
        if path["token"] != self._token:
            return refusal(401, "Unauthorized")
        # The Bot API's methods are not case-sensitive.
        if path["method"].lower() != "sendmessage":
            return refusal(404, "Not Found")
        given = parameters(request)
        chat_id, text = given.get("chat_id", ""), given.get("text", "")
        refused = self._refuse(chat_id, text)
        if refused is not None:
            return refused
        self.messages.append((chat_id, text))
        result = {
            "message_id": len(self.messages),
            "date": self._clock() // SECOND,
            "chat": _chat(chat_id),
            "text": text,
        }
        return _json(200, {"ok": True, "result": result})

    def _refuse(self, chat_id: str, text: str) -> Reply | None:
        if not chat_id:
            return refusal(400, "Bad Request: chat_id is empty")
        if chat_id in self.unknown or not _CHAT.fullmatch(chat_id):
            return refusal(400, "Bad Request: chat not found")
        if chat_id in self.migrated:
            moved_to = self.migrated[chat_id]
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            return refusal(400, words, {"migrate_to_chat_id": moved_to})
        if chat_id in self.blocked:
            return refusal(403, "Forbidden: bot was blocked by the user")
        if not text.strip():
            return refusal(400, "Bad Request: message text is empty")
        if len(text) > LONGEST_TEXT:
            return refusal(400, "Bad Request: message is too long")
        return None


def parameters(request: Received) -> dict[str, str]:
    """A method's parameters, which may come as a form or as JSON (core.telegram.org/bots/api#making-requests)."""
    if request.headers.get("content-type", "").startswith("application/json"):
        return {name: str(value) for name, value in orjson.loads(request.body).items()}
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True))


def refusal(status: int, description: str, response_parameters: Mapping[str, Any] | None = None) -> Reply:
    """An error as the Bot API words it; `response_parameters` is e.g. {"retry_after": 5}."""
    answer: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if response_parameters:
        answer["parameters"] = dict(response_parameters)
    return _json(status, answer)


def _chat(chat_id: str) -> dict[str, Any]:
    if chat_id.startswith("@"):
        return {"id": -1_000_000_000_001, "type": "channel", "title": chat_id[1:], "username": chat_id[1:]}
    if chat_id.startswith("-"):
        return {"id": int(chat_id), "type": "supergroup" if chat_id.startswith("-100") else "group", "title": "Players"}
    return {"id": int(chat_id), "type": "private", "first_name": "Ann"}


def _json(status: int, answer: Mapping[str, Any]) -> Reply:
    return Reply(status, orjson.dumps(answer), {"content-type": "application/json"})
