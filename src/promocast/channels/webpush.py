"""Web Push: one encrypted POST to the push service of the player's browser (RFC 8030, 8188, 8291, 8292)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import http_ece
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from promocast import retry
from promocast.channels.http import Answer, Http
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
# RFC 8292 section 2: at most 24 h. Half of it leaves room for a clock that is wrong, theirs or ours.
VAPID_LIFE: Final = 12 * HOUR
VAPID_RENEW_BEFORE: Final = HOUR
# Endpoints come from browsers: whoever makes up hosts must not fill our memory.
MOST_SERVICES: Final = 1024

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
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


@dataclass(frozen=True, slots=True, repr=False)
class Receiver:
    """A subscription that can be used: its keys have the form of RFC 8291 section 3, its endpoint an origin."""

    endpoint: str
    origin: str
    public_key: bytes
    auth: bytes

    @classmethod
    def of(cls, subscription: PushSubscription, *, allow_http: bool) -> Receiver:
        """Check what a browser gave us.

        Raises:
            ValueError: an endpoint that is not https (or http where that is allowed) or carries credentials; a p256dh
                that is no point of P-256; an auth secret of other than 16 bytes.
        """
        public_key, auth = _from_browser(subscription.p256dh), _from_browser(subscription.auth)
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public_key)
        if len(public_key) != 65 or len(auth) != 16:
            raise ValueError("a key has the wrong length")
        return cls(subscription.endpoint, origin_of(subscription.endpoint, allow_http=allow_http), public_key, auth)


def origin_of(endpoint: str, *, allow_http: bool) -> str:
    """The origin of `endpoint` as RFC 6454 section 6.2 writes it: lower case, no default port.

    Raises:
        ValueError: it has none, or its scheme is not allowed.
    """
    if not endpoint.isascii() or re.search(r"\s", endpoint):
        raise ValueError("an endpoint is an ASCII URL")
    parts = urlsplit(endpoint)
    default_port = {"https": 443, "http": 80}.get(parts.scheme)
    if default_port is None or (parts.scheme == "http" and not allow_http):
        raise ValueError("an endpoint is an https URL")
    if not parts.hostname or "@" in parts.netloc:
        raise ValueError("an endpoint names a host, and nobody's password")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if parts.port in (None, default_port) else f":{parts.port}")


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


def encrypt(plaintext: bytes, receiver: Receiver, sender: ec.EllipticCurvePrivateKey, salt: bytes) -> bytes:
    """The request's body (RFC 8291 section 3.4, RFC 8188 section 2). `sender` and `salt` must be new for each."""
    body: bytes = http_ece.encrypt(
        plaintext, salt=salt, private_key=sender, dh=receiver.public_key, auth_secret=receiver.auth, version="aes128gcm"
    )
    return body


def vapid(key: ec.EllipticCurvePrivateKey, origin: str, subject: str, now: Instant) -> str:
    """The Authorization header for one push service (RFC 8292 section 3): an ES256 token (RFC 7515) and our public key.

    The token is made here: pywebpush writes `aud` into the dict that it is given, so that the next push service is
    shown the last one's; py_vapid refuses contacts that RFC 8292 allows.
    """
    claims = {"aud": origin, "exp": (now + VAPID_LIFE) // SECOND, "sub": subject}
    # Sorted, as py_vapid does: Chrome's push service was found to need it.
    parts = (orjson.dumps(part, option=orjson.OPT_SORT_KEYS) for part in ({"alg": "ES256", "typ": "JWT"}, claims))
    signed = ".".join(map(_encode, parts))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = _encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return f"vapid t={signed}.{signature}, k={_encode(public)}"


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


def load_private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """The VAPID key: base64url of its 32 raw bytes, PEM, or the path of a PEM file.

    Raises:
        ValueError: it is none of these, or a key of another kind. The message does not quote `text`.
    """
    text = text.strip()
    try:
        raw = _decode(text)
    except ValueError:
        raw = b""
    if len(raw) == 32:
        return ec.derive_private_key(int.from_bytes(raw, "big"), ec.SECP256R1())
    if "-----BEGIN" not in text:
        try:
            text = Path(text).read_text(encoding="ascii")
        except (OSError, ValueError):
            raise ValueError("`private_key` is no base64url of 32 bytes, no PEM and no readable file") from None
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(text.encode(), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return key
    raise ValueError("`private_key` is no unencrypted P-256 key in PEM")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    if not _BASE64URL.fullmatch(text):
        raise ValueError("no base64url")  # b64decode would skip what it does not know
    text = text.rstrip("=")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _from_browser(text: str) -> bytes:
    """`PushSubscription.toJSON` writes base64url; scripts that call `btoa` themselves write base64."""
    return _decode(text.translate(str.maketrans("+/", "-_")))
