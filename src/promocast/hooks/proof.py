"""Who posts to a hook is proven by what its source was given: a token, a name and password, or a signing secret."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

from promocast import signing
from promocast.model import SECOND, Instant
from promocast.settings import HookSettings


def proven(settings: HookSettings, headers: Mapping[str, str], body: bytes, now: Instant) -> bool:
    """Whether one of the source's secrets was used. `headers` have names in lower case.

    How much of a secret was right does not show in the time that this takes.
    """
    secrets = [secret.get_secret_value() for secret in settings.secrets]
    if settings.auth == "webhook":
        keys = [signing.webhook_key(secret) for secret in secrets]
        return signing.webhook_proven(keys, headers, body, now // SECOND)
    scheme, _, text = headers.get("authorization", "").partition(" ")
    if scheme.lower() != settings.auth:
        return False
    given = _decoded(text.strip()) if settings.auth == "basic" else text.strip().encode()
    return any(hmac.compare_digest(given, secret.encode()) for secret in secrets)


def _decoded(text: str) -> bytes:
    """The `user:password` of RFC 7617; empty, which is no secret, where it is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
