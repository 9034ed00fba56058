"""What a web push is sealed and signed with: encryption for the subscription's keys (RFC 8291, RFC 8188), and the token
by which a push service knows us (VAPID, RFC 8292)."""

from __future__ import annotations

import base64
import contextlib
import re
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

from promocast.model import HOUR, SECOND, Instant, PushSubscription

# RFC 8292 section 2: at most 24 h. Half of it leaves room for a clock that is wrong, theirs or ours.
VAPID_LIFE: Final = 12 * HOUR
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")


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
