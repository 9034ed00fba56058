"""Twilio's Messages resource (API 2010-04-01), as far as creating one: credentials, fields, opt-outs; and the webhooks
that follow, signed as Twilio signs."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import aiohttp
import orjson
from twilio.request_validator import RequestValidator

from promocast.model import SECOND, Clock, system_clock
from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script

LONGEST_BODY: Final = 1600

_E164 = re.compile(r"\+[1-9]\d{6,14}")


class TwilioApi(HttpStandin):
    """Takes messages of one account for any number in E.164 but those in `opted_out`.

    `messages` holds the forms of what was taken. What is sent to is told of by `reports`, in that order, to the
    StatusCallback of each message.
    """

    def __init__(
        self, account_sid: str, auth_token: str, clock: Clock = system_clock, script: Script | None = None
    ) -> None:
        super().__init__(script)
        self.messages: list[dict[str, str]] = []
        self.opted_out: set[str] = set()
        self.reports: tuple[str, ...] = ()
        self._reporting: set[asyncio.Task[None]] = set()
        self._validator = RequestValidator(auth_token)
        self._account_sid = account_sid
        self._authorization = "Basic " + base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._clock = clock

    async def answer(self, request: Received) -> Reply | Fault:
        if request.headers.get("authorization") != self._authorization:
            return refusal(401, 20003, "Authenticate")
        if (request.method, request.path) != ("POST", f"/2010-04-01/Accounts/{self._account_sid}/Messages.json"):
            return refusal(404, 20404, f"The requested resource {request.path} was not found")
        given = form(request)
        refused = self._refuse(given)
        if refused is not None:
            return refused
        self.messages.append(given)
        resource = self._resource(given)
        if self.reports and "StatusCallback" in given:
            task = asyncio.create_task(self._report(given["StatusCallback"], resource["sid"], given["To"]))
            self._reporting.add(task)
            task.add_done_callback(self._reporting.discard)
        return _json(201, resource)

    async def post(self, url: str, fields: Mapping[str, str]) -> int:
        """Post a webhook as Twilio does, signed; the status of the answer."""
        headers = {"x-twilio-signature": self._validator.compute_signature(url, dict(fields))}
        async with aiohttp.ClientSession() as session, session.post(url, data=fields, headers=headers) as answer:
            return answer.status

    async def _report(self, url: str, sid: str, to: str) -> None:
        for status in self.reports:
            fields = {"MessageSid": sid, "MessageStatus": status, "To": to, "AccountSid": self._account_sid}
            with suppress(aiohttp.ClientError):  # a callback that is lost is lost
                await self.post(url, fields)

    def _refuse(self, given: Mapping[str, str]) -> Reply | None:
        to = given.get("To", "")
        if not _E164.fullmatch(to):
            return refusal(400, 21211, f"Invalid 'To' Phone Number: {to}")
        if not (given.get("From") or given.get("MessagingServiceSid")):
            return refusal(400, 21603, "A 'From' phone number is required.")
        if not given.get("Body"):
            return refusal(400, 21602, "Message body is required.")
        if len(given["Body"]) > LONGEST_BODY:
            return refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
        if to in self.opted_out:
            return refusal(400, 21610, "Attempt to send to unsubscribed recipient")
        return None

    def _resource(self, given: Mapping[str, str]) -> dict[str, Any]:
        sid = f"SM{len(self.messages):032x}"
        uri = f"/2010-04-01/Accounts/{self._account_sid}/Messages/{sid}"
        created = format_datetime(datetime.fromtimestamp(self._clock() // SECOND, UTC))
        # A messaging service has not chosen its sender yet, and with it not the segments.
        service = given.get("MessagingServiceSid")
        return {
            "account_sid": self._account_sid,
            "api_version": "2010-04-01",
            "body": given["Body"],
            "date_created": created,
            "date_sent": None,
            "date_updated": created,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": given.get("From"),
            "messaging_service_sid": service,
            "num_media": "0",
            "num_segments": "0" if service else str(segments(given["Body"])),
            "price": None,
            "price_unit": None,
            "sid": sid,
            "status": "accepted" if service else "queued",
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": given["To"],
            "uri": f"{uri}.json",
        }


def form(request: Received) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True))


def refusal(status: int, code: int, message: str) -> Reply:
    """An error as Twilio words it."""
    more_info = f"https://www.twilio.com/docs/errors/{code}"
    return _json(status, {"code": code, "message": message, "more_info": more_info, "status": status})


def segments(body: str) -> int:
    """The parts that `body` is sent in: 160 characters in one part or 153 in each of several, 70 and 67 UTF-16 units
    beyond ASCII. The real GSM-7 alphabet has some letters more than ASCII, and counts a few of it double."""
    units, one, each = (len(body), 160, 153) if body.isascii() else (len(body.encode("utf-16-le")) // 2, 70, 67)
    return 1 if units <= one else -(-units // each)


def _json(status: int, answer: Mapping[str, Any]) -> Reply:
    return Reply(status, orjson.dumps(answer), {"content-type": "application/json"})
