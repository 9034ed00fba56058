"""Signatures: of what we send, and of names that we give out and want to know again.

Webhooks are signed as Standard Webhooks has it (standardwebhooks.com, spec 1.0): HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"

PROOF_BYTES = 15  # 120 bits: 24 characters, and no padding


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


TOLERANCE = 300  # seconds, as the reference libraries have it


def webhook_proven(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, seconds: int) -> bool:
    """Whether a Standard Webhooks request was signed with one of `keys` within five minutes of `seconds`.

    `headers` have names in lower case. How much of a signature is right does not show in the time that this takes.
    """
    message_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not re.fullmatch(r"\d{1,12}", sent_at, re.ASCII) or abs(seconds - int(sent_at)) > TOLERANCE:
        return False
    signed = b"%s.%s.%s" % (message_id.encode(), sent_at.encode(), body)
    wanted = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    given = [signature.encode() for signature in headers.get("webhook-signature", "").split(" ")]
    return any(hmac.compare_digest(each, right) for each in given for right in wanted)


def token(secret: bytes, purpose: str, name: str) -> str:
    """`name` with a proof that it was given out for `purpose`.

    Letters, digits and dashes in lower case: fit for a URL, and for a mailbox, whose case a server may fold.
    """
    return f"{name}-{_proof(secret, purpose, name)}"


def opened(secret: bytes, purpose: str, token: str) -> str | None:
    """The name in `token`, in any case of its letters; None if it was not made with `secret` for `purpose`."""
    name, _, proof = token.lower().rpartition("-")
    if not proof.isascii() or not hmac.compare_digest(proof, _proof(secret, purpose, name)):
        return None
    return name


def _proof(secret: bytes, purpose: str, name: str) -> str:
    digest = hmac.digest(secret, f"{purpose}:{name}".encode(), hashlib.sha256)
    return base64.b32encode(digest[:PROOF_BYTES]).decode().lower()
