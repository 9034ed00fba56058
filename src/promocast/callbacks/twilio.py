"""Twilio's webhooks: what became of a message, and what players answer.

Status callbacks: twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks. Answers:
twilio.com/docs/messaging/guides/webhook-request. Both are forms, signed with the account's auth token over the public
URL (twilio.com/docs/usage/webhooks/webhooks-security). There is no time in the signature: a repetition is as good as
the first, so what is read here must bear repeating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from multidict import MultiDict
from twilio.request_validator import SIGNATURE_HEADER, SIGNATURE_SETTINGS_HEADER, RequestValidator

from promocast.callbacks import Callback, Unproven, Unreadable
from promocast.channels.sms import CODES, STOPPED
from promocast.model import Reachability, Report, Told
from promocast.settings import SmsSettings

# MessageStatus (twilio.com/docs/messaging/api/message-resource#message-status-values).
_TAKEN: Final = frozenset({"accepted", "scheduled", "queued", "sending", "sent", "partially_delivered"})
_ARRIVED: Final = frozenset({"delivered", "read"})
_FAILED: Final = frozenset({"undelivered", "failed", "canceled"})

# Where Advanced Opt-Out is on, OptOutType says what an answer is; else the answer itself, by Twilio's own words
# (help.twilio.com: Twilio support for opt-out keywords).
_STOP: Final = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"})
_START: Final = frozenset({"START", "YES", "UNSTOP"})


class Twilio:
    def __init__(self, settings: SmsSettings, public_url: str) -> None:
        self._validator = RequestValidator(settings.auth_token.get_secret_value())
        self._public_url = public_url

    def read(self, callback: Callback) -> Sequence[Told]:
        try:
            fields = MultiDict(parse_qsl(callback.body.decode(), keep_blank_values=True))
        except UnicodeDecodeError:
            raise Unproven from None
        self._prove(callback, fields)
        if "MessageStatus" in fields:
            return self._status(callback, fields)
        if "From" in fields and "Body" in fields:
            return self._answer(fields)
        raise Unreadable("neither a status nor an answer")

    def _prove(self, callback: Callback, fields: MultiDict[str]) -> None:
        signature = callback.header(SIGNATURE_HEADER.lower())
        if callback.header(SIGNATURE_SETTINGS_HEADER.lower()):
            raise Unproven  # signed with a shared key, which we have not been given
        if not signature or not self._validator.validate(self._public_url + callback.path, fields, signature):
            raise Unproven

    @staticmethod
    def _status(callback: Callback, fields: Mapping[str, str]) -> Sequence[Told]:
        keys = parse_qs(urlsplit(callback.path).query).get("delivery")
        if not keys:
            return ()  # another message of the same account
        status, sid = fields["MessageStatus"], fields.get("MessageSid") or None
        if status in _TAKEN:
            return (Report(keys[0], "sent", ref=sid),)
        if status in _ARRIVED:
            return (Report(keys[0], "delivered", ref=sid),)
        if status in _FAILED:
            return (_failed(keys[0], status, sid, fields.get("ErrorCode", "")),)
        raise Unreadable("MessageStatus is none of those documented")

    @staticmethod
    def _answer(fields: Mapping[str, str]) -> Sequence[Told]:
        number = fields["From"]
        meant = fields.get("OptOutType", "").upper() or fields["Body"].strip().upper()
        if meant in _STOP:
            return (Reachability("sms", number, reachable=False, why="answered STOP"),)
        if meant in _START:
            return (Reachability("sms", number, reachable=True, why="answered START"),)
        return ()


def _failed(key: str, status: str, sid: str | None, error: str) -> Report:
    """A message that will not arrive: by its ErrorCode, as for an answer to the create call."""
    code = int(error) if error.isascii() and error.isdigit() else None
    why = f"twilio {status}" if code is None else f"twilio {code}"
    match CODES.get(code or 0, "refused"):
        case "dead":
            return Report(key, "rejected", why, sid, address_dead=True, opted_out=code == STOPPED)
        case "later":
            return Report(key, "again", why, sid)
        case "ours":
            return Report(key, "rejected", why, sid, halted=True)
        case _:
            return Report(key, "rejected", why, sid)


__all__ = ["Twilio"]
