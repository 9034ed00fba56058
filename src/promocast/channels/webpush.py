"""Web Push: one encrypted POST to the push service of the player's browser (RFC 8030, 8188, 8291, 8292)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric import ec

from promocast import retry
from promocast.channels.http import Answer, Http
from promocast.channels.push_encryption import VAPID_LIFE, Receiver, encrypt, load_private_key, vapid
from promocast.errors import ForbiddenAddress, MaybeSent, NotSent
from promocast.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Clock,
    Deferred,
    Failed,
    Halted,
    Instant,
    Message,
    Outcome,
    PushSubscription,
    RandomBytes,
    Rejected,
    Sent,
)
from promocast.settings import WebPushSettings

# RFC 8291 section 4: a push service need not take more than 4096 bytes of body. 86 of them are the header, 16 the
# tag, 1 the delimiter.
LARGEST_PLAINTEXT: Final = 4096 - 86 - 16 - 1
LONGEST_LIFE: Final = 28 * DAY
VAPID_RENEW_BEFORE: Final = HOUR
# Endpoints come from browsers: whoever makes up hosts must not fill our memory.
MOST_SERVICES: Final = 1024

_CONTACT = re.compile(r"mailto:[^@\s]+@[^@\s]+|https://[^/\s]\S*")


class WebPush:
    """The Web Push adapter. A message's address is a `PushSubscription`.

    Args:
        random: bytes for the salts. The sender's keys are OpenSSL's own affair.

    Raises:
        ValueError: `private_key` is no P-256 key, or `subject` no contact.
    """

    asks_gate = True

    def __init__(self, settings: WebPushSettings, http: Http, clock: Clock, random: RandomBytes = os.urandom) -> None:
        if not _CONTACT.fullmatch(settings.subject):
            raise ValueError("`subject` must be a mailto: or https: address where push services can reach you")
        self._key = load_private_key(settings.private_key.get_secret_value())
        self._settings = settings
        # Endpoints come from browsers: not even an address that is written out is its own permission.
        self._http = http.within(frozenset(settings.allow_private))
        self._clock = clock
        self._random = random
        self._services: dict[str, _Service] = {}

    async def send(self, message: Message) -> Outcome:
        if not isinstance(message.address, PushSubscription):
            return Rejected("not_a_subscription", address_dead=True)
        plaintext = build_payload(message)
        if len(plaintext) > LARGEST_PLAINTEXT:
            return Rejected("webpush too_large", address_dead=False)
        try:
            receiver = Receiver.of(message.address, allow_http=bool(self._settings.allow_private))
        except ValueError:
            return Rejected("webpush bad_subscription", address_dead=True)
        service = self._service(receiver.origin)
        body = encrypt(plaintext, receiver, ec.generate_private_key(ec.SECP256R1()), self._random(16))
        headers = {**build_headers(message, self._clock()), "authorization": service.authorization}
        settings = self._settings
        try:
            answer = await self._http.post(
                receiver.endpoint, body, headers, connect_timeout=settings.connect_timeout, timeout=settings.timeout
            )
        except ForbiddenAddress as exc:
            return Rejected(exc.cause, address_dead=True)
        except NotSent as exc:
            return Failed(exc.cause, maybe_sent=False)
        except MaybeSent as exc:
            return Failed(exc.cause, maybe_sent=True)
        known = is_known(receiver.origin, settings.origins)
        outcome = read(answer, self._clock(), known=known, accepted_before=service.accepted)
        service.accepted = service.accepted or isinstance(outcome, Sent)
        return outcome

    async def close(self) -> None:
        return None

    def _service(self, origin: str) -> _Service:
        """What is known of that push service, with an authorization that is good for an hour at least."""
        service = self._services.pop(origin, None) or _Service()
        self._services[origin] = service  # now the youngest
        if len(self._services) > MOST_SERVICES:
            del self._services[next(iter(self._services))]
        now = self._clock()
        if now >= service.renew_at:
            service.authorization = vapid(self._key, origin, self._settings.subject, now)
            service.renew_at = now + VAPID_LIFE - VAPID_RENEW_BEFORE
        return service


@dataclass(slots=True)
class _Service:
    """A push service, that is an origin: how we introduce ourselves to it, and whether it ever took a message."""

    authorization: str = ""
    renew_at: Instant = 0
    accepted: bool = False


def is_known(origin: str, known: Iterable[str]) -> bool:
    """Whether `origin` is among those of the settings: hosts, `*.` before one for any subdomain of it, or origins."""
    for each in known:
        scheme, _, host = each.lower().rpartition("://")
        if host.startswith("*."):
            if origin.startswith(f"{scheme or 'https'}://") and origin.endswith(host[1:]):
                return True
        elif origin == f"{scheme or 'https'}://{host}":
            return True
    return False


def build_payload(message: Message) -> bytes:
    """The JSON that the site's service worker gets; keys without a template are null."""
    content = message.content
    return orjson.dumps(
        {
            **{key: content.get(key) for key in ("title", "body", "link")},
            "code": message.code,
            "campaign": message.campaign,
            "delivery_id": message.key,
            "tag": message.key,  # a notification of the same tag replaces the one that shows
        }
    )


def build_headers(message: Message, now: Instant) -> dict[str, str]:
    """How long the push service may keep the message, and what makes a repetition replace it (RFC 8030 section 5).

    TTL is whole seconds and never passes the code's end; without an end it is 28 days.
    """
    end = now + LONGEST_LIFE if message.expires_at is None else message.expires_at
    return {
        "ttl": str(min(max(end - now, 0), LONGEST_LIFE) // SECOND),
        "urgency": "normal",
        "topic": base64.urlsafe_b64encode(hashlib.sha256(message.key.encode()).digest()[:24]).decode(),
        "content-type": "application/octet-stream",
        "content-encoding": "aes128gcm",
    }


def read(answer: Answer, now: Instant, *, known: bool, accepted_before: bool = False) -> Outcome:
    """What a push service's answer means (RFC 8030 sections 5 and 8.4, RFC 8292 section 4.2).

    400, 401 and 403 say that our VAPID is refused and not why: it is wrong, or this subscription was made with another
    key. Only its other subscriptions can tell. Until one of them was accepted we halt, which harms no address; after
    that our key is proven and the subscription is dead. A host that anybody can have made up proves nothing: it neither
    halts us nor says what an address is worth.

    Being asked to wait is meant for all that we send to this push service, and to no other.

    Args:
        known: it is one of the push services that the settings name.
        accepted_before: this push service has accepted a message since the start of the process.
    """
    status = answer.status
    why = f"webpush {status}"
    wait = answer.headers.get("retry-after")
    if 200 <= status < 300:
        return Sent(_message_id(answer.headers.get("location", "")))
    if status in (404, 410):
        return Rejected(why, address_dead=True)
    if status in (400, 401, 403):
        return Halted(why) if known and not accepted_before else Rejected(why, address_dead=known)
    if status == 429 or (status >= 500 and wait is not None):
        return Deferred(retry.retry_after(wait, now, MINUTE), why, account=True)
    if status == 408 or status >= 500:
        return Failed(why, maybe_sent=False)
    return Rejected(why, address_dead=False)  # 413, a redirect, and what RFC 8030 does not know


def _message_id(location: str) -> str | None:
    """The last part of the message resource's URL: what goes before it may repeat the subscription's secret one."""
    return urlsplit(location).path.rpartition("/")[2] or None
