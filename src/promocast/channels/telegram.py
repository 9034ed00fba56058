"""Telegram: sendMessage of the Bot API (core.telegram.org/bots/api#sendmessage), through python-telegram-bot.

Telegram has no request key and shows no sent message to a bot, so a repetition cannot be told from a new message:
whatever may have been taken is reported as such, and never sent again from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson
from telegram import Bot
from telegram.error import NetworkError, TelegramError
from telegram.request import HTTPXRequest

from promocast import retry
from promocast.addresses import telegram_chat
from promocast.channels import guard
from promocast.channels.http import Http, transport_cause
from promocast.errors import ForbiddenAddress, NotSent, Withheld
from promocast.model import MINUTE, Clock, Deferred, Failed, Halted, Instant, Message, Outcome, Rejected, Sent
from promocast.settings import TelegramSettings

# 401: the token is revoked. 404: it never was one, or base_url is wrong. 409: the token is in use elsewhere.
OURS: Final = frozenset({401, 404, 409})

# The Bot API has no error codes of its own below the HTTP status: what a 400 or a 403 is about, only its English
# description says. This is the only place that reads it, in lower case; whatever is not here refuses the message
# and leaves the address alone ("bot can't send messages to the user" has been seen as a passing fault).
DESCRIPTIONS: Final[tuple[tuple[int, str, Outcome], ...]] = (
    (403, "bot was blocked by the user", Rejected("telegram 403 blocked", address_dead=True)),
    (403, "user is deactivated", Rejected("telegram 403 deactivated", address_dead=True)),
    (403, "bot was kicked", Rejected("telegram 403 kicked", address_dead=True)),
    (403, "bot can't initiate conversation", Rejected("telegram 403 never_started", address_dead=True)),
    (400, "chat not found", Rejected("telegram 400 chat_not_found", address_dead=True)),
    (400, "user not found", Rejected("telegram 400 user_not_found", address_dead=True)),
    (400, "peer_id_invalid", Rejected("telegram 400 peer_id_invalid", address_dead=True)),
    (400, "deactivated", Rejected("telegram 400 deactivated", address_dead=True)),
    # After the bot's logOut, as when it moves to a Bot API server of its own; it would refuse every player.
    (400, "logged out", Halted("telegram 400 logged_out")),
)

# What the library raises at a 2xx that it cannot read, down to the dates; the message has been taken all the same.
UNREADABLE: Final = (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError)


class Telegram:
    """The Telegram channel. An address is a chat's number (a group's is negative) or `@name` of a public channel."""

    asks_gate = True

    def __init__(self, settings: TelegramSettings, http: Http, clock: Clock) -> None:
        self._clock = clock
        http = http.within(guard.allowance(settings.base_url, settings.allow_private))
        transport = http.transport(connect_timeout=settings.connect_timeout, timeout=settings.timeout)
        self._request = _Request(httpx_kwargs={"transport": transport, "trust_env": False})
        # Without its second argument the bot opens another HTTP client, for getUpdates, which is never called here.
        self._bot = Bot(
            settings.token.get_secret_value(),
            base_url=settings.base_url,
            request=self._request,
            get_updates_request=self._request,
        )

    async def send(self, message: Message) -> Outcome:
        if telegram_chat(str(message.address)) is None:
            return Rejected("telegram not_a_chat", address_dead=True)
        text = message.content["text"]
        try:
            return await self._post(str(message.address), text)
        except Refused as refused:
            if refused.moved_to is None:
                return read(refused, self._clock())
            moved_to = refused.moved_to
        # The group has become a supergroup. The answer was a refusal, so this is no repetition.
        try:
            outcome = await self._post(moved_to, text)
            return replace(outcome, moved_to=str(moved_to)) if isinstance(outcome, Sent) else outcome
        except Refused as refused:
            return read(refused, self._clock())

    async def close(self) -> None:
        await self._request.shutdown()

    async def _post(self, chat_id: int | str, text: str) -> Sent | Failed | Halted:
        """Post once.

        Raises:
            Refused: Telegram answered, and not with 2xx.
            Withheld: the gate is closed.
        """
        try:
            sent = await self._bot.send_message(chat_id, text)
            return Sent(str(sent.message_id))
        except NetworkError as exc:
            if isinstance(exc.__cause__, Withheld):  # the library takes whatever it does not know for the network's
                raise exc.__cause__ from None
            # `TimedOut` is one of these and says less: it is raised for a refused connection as for a lost answer.
            cause = transport_cause(exc)
            if isinstance(cause, ForbiddenAddress):
                return Halted(cause.cause)
            why = "telegram no_answer" if cause is None else cause.cause
            return Failed(why, maybe_sent=not isinstance(cause, NotSent))
        except UNREADABLE:
            return Failed("telegram 200 unreadable", maybe_sent=True)


class Refused(TelegramError):
    """An answer other than 2xx, whole: the library's own exceptions do not keep the status, and a 429 without
    parameters looks to it like a broken connection.

    `description` is in lower case. `retry_after` (seconds, as text) and `moved_to` are ResponseParameters
    (core.telegram.org/bots/api#responseparameters).
    """

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"telegram {status}")
        self.status = status
        answer = _object(body)
        parameters = answer.get("parameters")
        parameters = parameters if isinstance(parameters, dict) else {}
        moved_to = parameters.get("migrate_to_chat_id")
        self.description = str(answer.get("description", "")).lower()
        self.retry_after = str(parameters.get("retry_after", ""))
        self.moved_to = moved_to if isinstance(moved_to, int) else None


class _Request(HTTPXRequest):
    async def do_request(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        status, body = await super().do_request(*args, **kwargs)
        if not 200 <= status < 300:
            raise Refused(status, body)
        return status, body

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """As the library's, which would also log a body that it cannot read: an answer quotes the message.

        Raises:
            ValueError: no JSON.
        """
        return orjson.loads(payload)  # type: ignore[no-any-return]


def read(refused: Refused, now: Instant) -> Outcome:
    """What a refusal means (core.telegram.org/bots/api#making-requests and core.telegram.org/bots/faq)."""
    status = refused.status
    why = f"telegram {status}"
    if status == 429:
        return Deferred(retry.retry_after(refused.retry_after, now, MINUTE), why, account=True)
    if status in OURS or 300 <= status < 400:
        return Halted(why)
    if status >= 500:
        # Said by a gateway or by a server that is restarting; neither promises that the message did not go out.
        return Failed(why, maybe_sent=True)
    for of_status, words, outcome in DESCRIPTIONS:
        if status == of_status and words in refused.description:
            return outcome
    return Rejected(why, address_dead=False)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


__all__ = ["Refused", "Telegram", "read"]
