"""SMS: the Messages resource of Twilio (twilio.com/docs/messaging/api/message-resource), through its SDK.

Twilio takes no request key for a message, so whatever may have been taken is reported as such, and never sent again
from here. The SDK's own HTTP client is not used: it ignores its timeout, can repeat a POST, and its exceptions have
lost the Retry-After header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import httpx
import orjson
from twilio.base import values
from twilio.base.exceptions import TwilioException
from twilio.http import AsyncHttpClient
from twilio.http.response import Response
from twilio.rest import Client

from promocast import retry
from promocast.addresses import phone_number
from promocast.channels import guard
from promocast.channels.http import Http, transport_cause
from promocast.errors import ForbiddenAddress, NotSent
from promocast.model import MINUTE, SECOND, Clock, Deferred, Failed, Halted, Instant, Message, Outcome, Rejected, Sent
from promocast.settings import SmsSettings

# Seconds, both ends accepted: ValidityPeriod in the Messages resource's documentation.
VALIDITY_LEAST: Final = 1
VALIDITY_MOST: Final = 36_000

# What the SDK raises at a 2xx that it cannot read, down to the dates; the message has been taken all the same.
UNREADABLE: Final = (AttributeError, OverflowError, TypeError, ValueError)

STOPPED: Final = 21610  # the recipient answered STOP

Meaning = Literal["dead", "refused", "later", "ours", "unsure"]

# twilio.com/docs/api/errors. 21xxx and 20xxx answer a create call; 30xxx are a message's `error_code`.
CODES: Final[Mapping[int, Meaning]] = {
    14107: "later",  # send rate limit
    20003: "ours",  # authentication failed
    20005: "ours",  # account not active
    20404: "ours",  # no such account
    21211: "dead",  # To is no phone number
    21212: "ours",  # From is no phone number
    21217: "dead",  # To does not look like a phone number
    21408: "refused",  # no permission for To's country: this player's, so halting would stop all the others
    21601: "ours",  # From cannot send SMS
    21602: "refused",  # no body
    21603: "ours",  # no From
    21606: "ours",  # From is not this account's
    21608: "ours",  # a trial account sends to verified numbers only
    21609: "ours",  # StatusCallback is no address that Twilio can reach: api.public_url
    STOPPED: "dead",
    21611: "later",  # From's queue is full
    21612: "refused",  # no route from this From to this To
    21614: "dead",  # To is no mobile number
    21617: "refused",  # body over 1600 characters
    21619: "refused",  # neither body nor media
    21620: "refused",  # media URL
    21623: "refused",  # too much media
    21635: "dead",  # To is a landline
    21703: "ours",  # the messaging service has no sender for this message
    21704: "ours",  # the messaging service has no sender at all
    30001: "later",  # queue overflow
    30002: "ours",  # account suspended
    30003: "refused",  # handset out of reach: off today, not gone
    30004: "dead",  # blocked
    30005: "dead",  # unknown handset
    30006: "dead",  # landline or unreachable carrier
    30007: "refused",  # filtered by a carrier: a probe that repeats it would only be filtered, and billed, again
    30008: "refused",  # unknown fault of a carrier
    30032: "ours",  # toll-free number not verified
    30034: "ours",  # number not registered for A2P 10DLC
    30036: "refused",  # validity period over
}


class Sms:
    """The SMS channel. An address is a phone number in E.164."""

    asks_gate = True

    def __init__(self, settings: SmsSettings, http: Http, clock: Clock) -> None:
        """
        Raises:
            ValueError: no auth token, or nobody to send from.
        """
        token = settings.auth_token.get_secret_value()
        if not token:
            raise ValueError("auth_token is missing")
        self._sender = _sender(settings)
        self._clock = clock
        http = http.within(guard.allowance(settings.base_url, settings.allow_private))
        transport = http.transport(connect_timeout=settings.connect_timeout, timeout=settings.timeout)
        self._http = httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)
        client = Client(
            settings.account_sid,
            token,
            http_client=_OverHttpx(self._http),
            # These two would rewrite the host of every request; an empty mapping would mean os.environ.
            environment={"TWILIO_EDGE": "", "TWILIO_REGION": ""},
        )
        client.api.base_url = settings.base_url
        self._messages = client.messages

    async def send(self, message: Message) -> Outcome:
        to = phone_number(str(message.address))
        if to is None:
            return Rejected("sms not_a_number", address_dead=True)
        now = self._clock()
        try:
            created = await self._messages.create_async(
                to=to,
                body=message.content["text"],
                validity_period=_validity(message.expires_at, now),
                status_callback=message.report_url or values.unset,
                **self._sender,
            )
            return read_created(created.sid, created.status, created.error_code, self._clock())
        except Refused as refused:
            return read(refused, self._clock())
        except httpx.HTTPError as exc:
            cause = transport_cause(exc)
            if isinstance(cause, ForbiddenAddress):
                return Halted(cause.cause)
            why = "twilio no_answer" if cause is None else cause.cause
            return Failed(why, maybe_sent=not isinstance(cause, NotSent))
        except UNREADABLE:
            return Failed("twilio 201 unreadable", maybe_sent=True)

    async def close(self) -> None:
        await self._http.aclose()


class Refused(TwilioException):  # type: ignore[misc]  # twilio has no types
    """An answer other than 2xx. `code` is Twilio's own, None where a proxy answered in its place."""

    def __init__(self, status: int, retry_after: str | None, body: bytes) -> None:
        super().__init__(f"twilio http {status}")
        self.status = status
        self.retry_after = retry_after
        self.code = _code(body)


class _OverHttpx(AsyncHttpClient):  # type: ignore[misc]  # twilio has no types
    """Posts once over our transport. Refusals are raised here, where their headers are still at hand."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(logger=None, is_async=True)
        self._client = client

    async def request(
        self,
        method: str,
        uri: str,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        **_timeout_and_redirects: object,
    ) -> Response:
        answer = await self._client.request(method, uri, params=params, data=data, headers=headers, auth=auth)
        if not answer.is_success:
            raise Refused(answer.status_code, answer.headers.get("retry-after"), answer.content)
        return Response(answer.status_code, answer.text, answer.headers)


def read(refused: Refused, now: Instant) -> Outcome:
    """What a refusal means: by Twilio's code, else by the HTTP status."""
    why = f"twilio http {refused.status}" if refused.code is None else f"twilio {refused.code}"
    outcome = _outcome(_meaning(refused.code, refused.status), why, refused.retry_after, now)
    return replace(outcome, opted_out=True) if isinstance(outcome, Rejected) and refused.code == STOPPED else outcome


def read_created(sid: object, status: object, error_code: object, now: Instant) -> Outcome:
    """What a created message means: as a rule it waits for a carrier, but it may have failed at birth."""
    if not isinstance(sid, str):
        return Failed("twilio 201 unreadable", maybe_sent=True)
    if status not in {"failed", "undelivered"}:
        return Sent(sid)
    code = error_code if isinstance(error_code, int) else None
    why = f"twilio {status}" if code is None else f"twilio {code}"
    return _outcome(_meaning(code, 201), why, None, now)


def _meaning(code: int | None, status: int) -> Meaning:
    if code is not None and code in CODES:
        return CODES[code]
    if status in {401, 403, 404} or 300 <= status < 400:
        return "ours"
    if status == 429:
        return "later"
    return "unsure" if status >= 500 else "refused"


def _outcome(meaning: Meaning, why: str, retry_after: str | None, now: Instant) -> Outcome:
    match meaning:
        case "dead":
            return Rejected(why, address_dead=True)
        case "refused":
            return Rejected(why, address_dead=False)
        case "later":
            return Deferred(retry.retry_after(retry_after, now, MINUTE), why, account=True)
        case "ours":
            return Halted(why)
        case "unsure":
            return Failed(why, maybe_sent=True)


def _sender(settings: SmsSettings) -> Mapping[str, str]:
    """A messaging service picks its own number, and handles STOP; without one the number or name is ours to give."""
    if settings.messaging_service_sid:
        return {"messaging_service_sid": settings.messaging_service_sid}
    if settings.sender:
        return {"from_": settings.sender}
    raise ValueError("set messaging_service_sid, or sender")


def _validity(expires_at: Instant | None, now: Instant) -> object:
    """Seconds that Twilio may keep the message: a code that is over must not arrive."""
    if expires_at is None:
        return values.unset
    return min(max((expires_at - now) // SECOND, VALIDITY_LEAST), VALIDITY_MOST)


def _code(body: bytes) -> int | None:
    """`code` of an error: at the same place in Twilio's own shape as in that of RFC 9457."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    code = answer.get("code") if isinstance(answer, dict) else None
    return code if isinstance(code, int) else None


__all__ = ["Refused", "Sms", "read", "read_created"]
