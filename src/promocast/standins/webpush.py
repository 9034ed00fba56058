"""A browser vendor's push service and its browsers: checks as RFC 8030 and 8292 want, decrypts as RFC 8291."""

from __future__ import annotations

import base64
import os
import re
import secrets
from dataclasses import dataclass
from typing import Any

import http_ece
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import jwt

from promocast.model import DAY, SECOND, Clock, PushSubscription, system_clock
from promocast.standins.base import Fault, HttpStandin, Received, Reply, Script

LARGEST_BODY = 4096
URGENCIES = frozenset({"very-low", "low", "normal", "high"})

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_AUTHORIZATION = re.compile(r"vapid t=([\w.-]+), ?k=([\w-]+)")


@dataclass(slots=True)
class _Browser:
    key: ec.EllipticCurvePrivateKey
    auth: bytes
    server_key: str | None
    alive: bool = True


class PushService(HttpStandin):
    """Answers 201 to a message that its browser can read. `payloads` holds what the service workers got, as JSON.

    A subscription that was made for one `server_key` (base64url of its public key, the browser's
    applicationServerKey) takes messages of no other.
    """

    def __init__(self, clock: Clock = system_clock, script: Script | None = None) -> None:
        super().__init__(script)
        self.payloads: list[dict[str, Any]] = []
        self._clock = clock
        self._browsers: dict[str, _Browser] = {}

    def new_subscription(self, server_key: str | None = None) -> PushSubscription:
        """A browser subscribes."""
        browser = _Browser(ec.generate_private_key(ec.SECP256R1()), os.urandom(16), server_key)
        path = f"/push/{secrets.token_urlsafe(16)}"
        self._browsers[path] = browser
        point = browser.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return PushSubscription(self.url + path, _encode(point), _encode(browser.auth))

    def drop(self, subscription: PushSubscription) -> None:
        """The player took the permission back."""
        self._browsers[subscription.endpoint.removeprefix(self.url)].alive = False

    async def answer(self, request: Received) -> Reply | Fault:
        browser = self._browsers.get(request.path)
        if request.method != "POST" or browser is None:
            return Reply(404)
        if not browser.alive:
            return Reply(410)
        status = self._fault_of_headers(request.headers) or self._fault_of_sender(
            request.headers.get("authorization", ""), browser.server_key
        )
        if status:
            return Reply(status)
        if len(request.body) > LARGEST_BODY:
            return Reply(413)
        try:
            plaintext = http_ece.decrypt(request.body, private_key=browser.key, auth_secret=browser.auth)
        except (http_ece.ECEException, ValueError):
            return Reply(400)  # a real push service cannot look inside; it is the browser that would drop this
        self.payloads.append(orjson.loads(plaintext))
        return Reply(201, headers={"location": f"{self.url}/message/{secrets.token_urlsafe(12)}"})

    def _fault_of_headers(self, headers: Any) -> int | None:
        """RFC 8030: TTL must be there, Urgency and Topic well formed if they are; RFC 8291: the encoding."""
        good = (
            headers.get("ttl", "").isdigit()
            and headers.get("urgency", "normal") in URGENCIES
            and _TOPIC.fullmatch(headers.get("topic", "none"))
            and headers.get("content-encoding") == "aes128gcm"
        )
        return None if good else 400

    def _fault_of_sender(self, authorization: str, server_key: str | None) -> int | None:
        """RFC 8292 section 2 and 4.2: our origin, at most 24 h, a contact, signed with the key that it names."""
        match = _AUTHORIZATION.fullmatch(authorization)
        if match is None:
            return 401
        token, key = match.groups()
        try:
            claims = jwt.decode(token, key)
        except (InvalidSignature, ValueError):
            return 403
        now = self._clock() // SECOND
        good = (
            claims.get("aud") == self.url
            and now < claims.get("exp", 0) <= now + DAY // SECOND
            and str(claims.get("sub", "")).startswith(("mailto:", "https:"))
            and server_key in (None, key)
        )
        return None if good else 403


def vapid_private_key() -> str:
    """A new VAPID key as the settings take it: base64url of its 32 bytes."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return _encode(number.to_bytes(32, "big"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
