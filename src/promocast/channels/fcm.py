"""Firebase Cloud Messaging, HTTP v1 (firebase.google.com/docs/cloud-messaging): one POST for one device."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promocast import retry
from promocast.channels import guard
from promocast.channels.google_oauth import AccessTokens, Deadline, NoToken, ServiceAccount
from promocast.channels.http import Answer, Http
from promocast.errors import ForbiddenAddress, MaybeSent, NotSent
from promocast.model import (
    DAY,
    MINUTE,
    SECOND,
    Clock,
    Deferred,
    Failed,
    Halted,
    Instant,
    Message,
    Outcome,
    Rejected,
    Sent,
)
from promocast.settings import FcmSettings

LARGEST_PAYLOAD: Final = 4096
LONGEST_LIFE: Final = 28 * DAY
LONGEST_APNS_COLLAPSE_ID: Final = 64

# google.rpc.Code by HTTP status, for answers whose body cannot be read.
CODE_OF_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
CODES: Final = frozenset(
    {"UNREGISTERED", "SENDER_ID_MISMATCH", "THIRD_PARTY_AUTH_ERROR", "QUOTA_EXCEEDED", *CODE_OF_STATUS.values()}
)


class Fcm:
    """The FCM adapter. A message's address is a registration token.

    Raises:
        ValueError: the credentials are no service account, or no project is named.
    """

    asks_gate = True

    def __init__(self, settings: FcmSettings, http: Http, clock: Clock) -> None:
        account = ServiceAccount.load(settings.credentials.get_secret_value())
        project = settings.project or account.project_id
        if not project:
            raise ValueError("the credentials name no project_id; set `project`")
        self._url = f"{settings.base_url.rstrip('/')}/v1/projects/{quote(project, safe=':')}/messages:send"
        self._settings = settings
        self._http = http.within(guard.allowance(settings.base_url, settings.allow_private))
        self._clock = clock
        self._tokens = AccessTokens(account, settings, http, clock)
        self._vouched: set[str] = set()

    async def send(self, message: Message) -> Outcome:
        token = message.address
        if not isinstance(token, str) or not token:
            return Rejected("not_a_token", address_dead=True)
        payload = build_payload(message)
        if len(orjson.dumps(payload)) > LARGEST_PAYLOAD:
            return Rejected("fcm too_large", address_dead=False)
        body = orjson.dumps({"message": {"token": token, **payload, **build_options(message, self._clock())}})
        try:
            answer = await self._post(body)
        except NoToken as exc:
            return exc.outcome
        except ForbiddenAddress as exc:
            return Halted(exc.cause)
        except NotSent as exc:
            return Failed(exc.cause, maybe_sent=False)
        except MaybeSent as exc:
            return Failed(exc.cause, maybe_sent=True)
        return self._judge(answer, message.campaign)

    async def close(self) -> None:
        await self._tokens.close()

    async def _post(self, body: bytes) -> Answer:
        """Post; where Google does not know our token any more, get another and post once more."""
        deadline = Deadline(self._settings.connect_timeout + self._settings.timeout)
        token = await self._tokens.get(deadline)
        answer = await self._post_once(body, token, deadline)
        if Fault.of(answer).code == "UNAUTHENTICATED":
            token = await self._tokens.get(deadline, refused=token)
            answer = await self._post_once(body, token, deadline)
        return answer

    async def _post_once(self, body: bytes, token: str, deadline: Deadline) -> Answer:
        left = deadline.enough_to_send()
        connect_timeout = min(self._settings.connect_timeout, left // 2)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        return await self._http.post(
            self._url, body, headers, connect_timeout=connect_timeout, timeout=left - connect_timeout
        )

    def _judge(self, answer: Answer, campaign: str) -> Outcome:
        """`read`, with what is known of the campaign's payload.

        FCM answers a malformed token and a malformed payload alike. One acceptance of a campaign's payload vouches for
        the next refusal only: should the campaign have been edited in between, one token is lost and not all.
        """
        outcome = read(answer, self._clock(), payload_known_good=campaign in self._vouched)
        if isinstance(outcome, Sent):
            self._vouched.add(campaign)
        elif isinstance(outcome, Rejected):
            self._vouched.discard(campaign)
        return outcome


def build_payload(message: Message) -> dict[str, dict[str, str]]:
    """What FCM counts against its 4096 bytes: the notification, and the data for the app (all of it strings)."""
    content = message.content
    data = {
        "code": message.code,
        "campaign": message.campaign,
        "delivery_id": message.key,
        "link": content.get("link", ""),
    }
    return {
        "notification": {key: content[key] for key in ("title", "body") if content.get(key)},
        "data": {key: value for key, value in data.items() if value},
    }


def build_options(message: Message, now: Instant) -> dict[str, Any]:
    """How long the message may wait for the device, and what makes a repetition of it replace it.

    The life is whole seconds and never passes the code's end; without an end it is FCM's own default and maximum, 28
    days. A collapse key replaces what still waits, a tag what already shows.
    """
    key = message.key
    end = now + LONGEST_LIFE if message.expires_at is None else message.expires_at
    life = min(max(end - now, 0), LONGEST_LIFE) // SECOND
    webpush: dict[str, Any] = {
        "headers": {"TTL": str(life), "Topic": short_key(key)},
        "notification": {"tag": key},
    }
    link = message.content.get("link", "")
    if link.startswith("https://"):  # FCM refuses the whole message for any other scheme here
        webpush["fcm_options"] = {"link": link}
    collapse_id = key if len(key.encode()) <= LONGEST_APNS_COLLAPSE_ID else short_key(key)
    return {
        "android": {"collapse_key": key, "ttl": f"{life}s", "notification": {"tag": key}},
        "apns": {"headers": {"apns-collapse-id": collapse_id, "apns-expiration": str(now // SECOND + life)}},
        "webpush": webpush,
    }


def short_key(key: str) -> str:
    """32 base64url characters for `key`, the most that a Web Push Topic may have (RFC 8030 section 5.4)."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()[:24]).decode()


def read(answer: Answer, now: Instant, *, payload_known_good: bool = False) -> Outcome:
    """What FCM's answer means (firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode).

    Args:
        payload_known_good: FCM has taken the same payload for another token, so it is the token that it refuses.
    """
    if 200 <= answer.status < 300:
        name = _message_name(answer.body)
        # A proxy's page is no acceptance. If it was one all the same, a repetition replaces it.
        return Failed("fcm unreadable", maybe_sent=True) if name is None else Sent(name)
    fault = Fault.of(answer)
    why = f"fcm {fault.code}"
    wait = answer.headers.get("retry-after")
    match fault.code:
        case "UNREGISTERED" | "SENDER_ID_MISMATCH":
            return Rejected(why, address_dead=True)
        case "INVALID_ARGUMENT":
            return Rejected(why, address_dead=fault.names_token or (fault.from_fcm and payload_known_good))
        case "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED":
            return Deferred(retry.retry_after(wait, now, MINUTE), why, account=True)
        case "UNAVAILABLE" if wait is not None:
            return Deferred(retry.retry_after(wait, now, 10 * SECOND), why)
        case "UNAVAILABLE" | "INTERNAL":
            return Failed(why, maybe_sent=False)
        case "DEADLINE_EXCEEDED":
            return Failed(why, maybe_sent=True)
        case "http 413":
            return Rejected(why, address_dead=False)
    if answer.status == 408 or answer.status >= 500:
        return Failed(why, maybe_sent=False)
    return Halted(why)  # credentials, project, an app's APNs key, base_url: our operator's to mend


class _Model(BaseModel):
    # Without this pydantic quotes what it was given in its messages: keys, tokens, a player's text.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class _Violation(_Model):
    field: str = ""


class _Detail(_Model):
    type: str = Field("", alias="@type")
    error_code: str = Field("", alias="errorCode")
    violations: tuple[_Violation, ...] = Field((), alias="fieldViolations")


class _Error(_Model):
    status: str = ""
    details: tuple[_Detail, ...] = ()


class _ErrorAnswer(_Model):
    error: _Error


class _SentAnswer(_Model):
    name: str = Field(min_length=1)


def _message_name(body: bytes) -> str | None:
    try:
        return _SentAnswer.model_validate_json(body).name
    except ValidationError:
        return None


@dataclass(frozen=True, slots=True)
class Fault:
    """An error answer. `code` is FCM's own, else google.rpc's, else of the HTTP status; never any other text."""

    code: str
    from_fcm: bool = False
    names_token: bool = False

    @classmethod
    def of(cls, answer: Answer) -> Fault:
        try:
            error = _ErrorAnswer.model_validate_json(answer.body).error
        except ValidationError:
            error = _Error()
        fcm = next((d.error_code for d in error.details if d.type.endswith("google.firebase.fcm.v1.FcmError")), "")
        by_status = CODE_OF_STATUS.get(answer.status, f"http {answer.status}")
        code = next((code for code in (fcm, error.status) if code in CODES), by_status)
        names_token = any(v.field == "message.token" for d in error.details for v in d.violations)
        return cls(code, from_fcm=code == fcm, names_token=names_token)
