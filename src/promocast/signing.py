"""Signatures. Standard Webhooks (standardwebhooks.com, spec 1.0): HMAC-SHA256 over `id.timestamp.body`."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def webhook_key(secret: str) -> bytes:
    """The key bytes of a secret: `whsec_` and base64, or, as the reference library has it, the base64 alone.

    Raises:
        ValueError: if it is no base64 of 24 to 64 bytes, as the specification wants.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is `whsec_` followed by base64") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"a webhook secret holds 24 to 64 bytes, this one {len(key)}")
    return key


def new_webhook_secret(random: bytes) -> str:
    return PREFIX + base64.b64encode(random).decode()


def webhook_headers(keys: Sequence[bytes], message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers of a Standard Webhooks request, one signature per key so that keys can be rotated.

    `seconds` is the time of this attempt; `message_id` is the same on every attempt and holds no ".".
    """
    signed = b"%s.%d.%s" % (message_id.encode(), seconds, body)
    signatures = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
