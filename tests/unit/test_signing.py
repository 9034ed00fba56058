"""Signatures: what we sign, any Standard Webhooks library verifies."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from promocast.model import SECOND
from promocast.signing import new_webhook_secret, webhook_headers, webhook_key
from tests.conftest import NOW

OLD = new_webhook_secret(b"o" * 32)
NEW = new_webhook_secret(b"n" * 32)
OTHER = new_webhook_secret(b"x" * 32)
BODY = b'{ "code" : "AB12CD34" }'
SECONDS = NOW // SECOND


@pytest.fixture(autouse=True)
def _at_now() -> Iterator[None]:
    with time_machine.travel(SECONDS, tick=False):
        yield


def headers(*secrets: str, body: bytes = BODY, seconds: int = SECONDS) -> dict[str, str]:
    return webhook_headers([webhook_key(secret) for secret in secrets], "msg_1", seconds, body)


def verified(secret: str, body: bytes, signed: dict[str, str]) -> Any:
    """What the reference library makes of a request; it raises where the signature is not good."""
    return Webhook(secret).verify(body, signed)


def test_the_reference_library_verifies_what_we_sign() -> None:
    assert verified(NEW, BODY, headers(NEW)) == {"code": "AB12CD34"}


def test_the_vector_of_the_reference_library_is_signed_alike() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = webhook_headers([webhook_key(secret)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.text())
@settings(max_examples=50, derandomize=True)
def test_every_body_is_signed_as_its_bytes(text: str) -> None:
    body = text.encode()

    Webhook(NEW).verify(body, headers(NEW, body=body), json_parse=False)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_while_a_secret_is_rotated_both_verify(secret: str) -> None:
    assert verified(secret, BODY, headers(NEW, OLD)) == {"code": "AB12CD34"}


def test_after_the_rotation_the_old_secret_verifies_no_more() -> None:
    with pytest.raises(WebhookVerificationError):
        verified(OLD, BODY, headers(NEW))


@pytest.mark.parametrize(
    ("secret", "body", "changed"),
    [
        (OTHER, BODY, {}),
        (NEW, BODY + b" ", {}),
        (NEW, BODY, {"webhook-id": "msg_2"}),
        (NEW, BODY, {"webhook-timestamp": str(SECONDS + 1)}),
    ],
    ids=["another secret", "another body", "another id", "another time"],
)
def test_nothing_of_what_was_signed_can_be_changed(secret: str, body: bytes, changed: dict[str, str]) -> None:
    with pytest.raises(WebhookVerificationError):
        verified(secret, body, headers(NEW) | changed)


def test_a_request_that_is_replayed_later_is_too_old() -> None:
    with pytest.raises(WebhookVerificationError, match="too old"):
        verified(NEW, BODY, headers(NEW, seconds=SECONDS - 301))


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_new_secret_holds_the_bytes_that_it_was_made_of(size: int) -> None:
    random = bytes(range(size))

    secret = new_webhook_secret(random)

    assert secret.startswith("whsec_")
    assert webhook_key(secret) == random


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_not base64 at all!",
        "whsec_" + "A" * 33,
        "whsec_\u00e9\u00e9\u00e9\u00e9",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
    ids=["empty", "prefix only", "no base64", "cut off", "no ASCII", "23 bytes", "65 bytes"],
)
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(ValueError):
        webhook_key(secret)


def test_a_secret_of_the_wrong_length_says_which_is_right() -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes, this one 5"):
        webhook_key(new_webhook_secret(b"short"))
