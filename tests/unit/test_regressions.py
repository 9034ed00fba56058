"""Inputs that once went wrong, each with the promise that it broke."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promocast import jobs, recipients, retry
from promocast.campaign import document, templates
from promocast.campaign.deposit import Window, believed, highest
from promocast.campaign.document import line_of
from promocast.campaign.label_tags import fold
from promocast.campaign.lines import lines_of
from promocast.errors import CampaignError, ConfigError, InputError
from promocast.loading import load
from promocast.model import HOUR, MINUTE, SECOND
from promocast.money import parse_amount
from promocast.recipients import Rejection
from tests.conftest import NOW

CAMPAIGN: dict[str, Any] = {
    "id": "welcome",
    "label_tags": {"promo_code": {"type": "random"}},
    "code": {"label_tag": "promo_code"},
}


def faults_of(**changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(CampaignError) as refused:
        document.from_json({**CAMPAIGN, **changes}, "test")
    return [(fault.pointer, fault.reason) for fault in refused.value.faults]


@pytest.mark.parametrize("player_id", ["\ud800", "a\x00"], ids=ascii)
def test_a_rejection_names_no_player_whom_no_database_could_hold(player_id: str) -> None:
    rejection = recipients.read_recipient({"player_id": player_id}, 0)

    assert isinstance(rejection, Rejection)
    assert rejection.player_id is None


def test_half_a_surrogate_pair_in_a_push_key_is_rejected_with_a_pointer_of_the_document() -> None:
    subscription = {"endpoint": "https://p", "keys": {"p256dh": "\ud800", "auth": "a"}}
    push = [{"kind": "webpush", "subscription": subscription}]

    rejection = recipients.read_recipient({"player_id": "p1", "addresses": {"push": push}}, 0)

    assert isinstance(rejection, Rejection)
    assert "/addresses/push/0/subscription/keys/p256dh" in rejection.reason


@pytest.mark.parametrize("fact", ["deposit_index", "occurred_at"])
def test_an_integer_beyond_64_bits_is_refused(fact: str) -> None:
    with pytest.raises(InputError) as refused:
        jobs.read_deposit({"deposit_id": "tx", "player_id": "p1", "status": "approved", fact: 2**64})

    assert [fault.pointer for fault in refused.value.faults] == [f"/{fact}"]


@given(st.text())
@settings(max_examples=300, derandomize=True)
@example("A\u200d\u0301")
@example("A-\u0301")
def test_any_text_that_is_folded_stays_as_it_is(typed: str) -> None:
    assert fold(fold(typed)) == fold(typed)


def test_a_minus_sign_is_a_dash_to_whoever_types_it() -> None:
    assert fold("AB12\u2212CD34") == "AB12CD34"


@pytest.mark.parametrize("occurred_at", [NOW - 72 * HOUR, NOW + 5 * MINUTE + 950])
def test_the_window_is_cut_to_whole_seconds_too(occurred_at: int) -> None:
    messages = {"approved": {"status": "approved", "occurred_at": occurred_at}}

    assert not believed("tx", "p1", messages, NOW + 900, Window()).occurred_at_doubted


def test_the_status_shown_does_not_depend_on_which_negation_came_first() -> None:
    one: dict[str, Any] = {"cancelled": {}, "rolled_back": {}}

    assert highest(one) == highest(dict(reversed(one.items())))


@pytest.mark.parametrize(
    ("header", "wait"), [("0000000120", 120), ("Tue, 24 Nov 2026 10:02:00 -0000", 120), ("9" * 5000, 3600)]
)
def test_a_retry_after_is_read_as_it_is_meant(header: str, wait: int) -> None:
    assert retry.retry_after(header, NOW, MINUTE) == NOW + wait * SECOND


def test_an_amount_is_not_rounded_before_it_is_judged() -> None:
    with pytest.raises(ValueError, match="more digits"):
        parse_amount("19.999999999999999999999999999999", "EUR")
    assert parse_amount("20.00", "EUR") == Decimal(20)


def test_bounds_suit_their_currency() -> None:
    assert [pointer for pointer, _ in faults_of(redemption={"min_deposit": {"JPY": "3000.50"}})] == [
        "/redemption/min_deposit"
    ]


@pytest.mark.parametrize("valid_for", [-5, True, "99999d"])
def test_a_duration_is_neither_negative_nor_a_truth_nor_for_ever(valid_for: object) -> None:
    faults = faults_of(code={"label_tag": "promo_code", "valid_for": valid_for})

    assert [pointer for pointer, _ in faults] == ["/code/valid_for"]


def test_a_label_tag_may_be_named_like_a_type_or_a_number() -> None:
    faults = faults_of(label_tags={"promo_code": {"type": "random"}, "pattern": {"type": "pattern", "pattern": ""}})

    assert [pointer for pointer, _ in faults] == ["/label_tags/pattern/pattern"]
    assert line_of("/label_tags/2026/length", lines_of("[label_tags.2026]\nlength = 0")) == 2


def test_a_line_is_what_ends_with_a_line_feed() -> None:
    assert lines_of('name = "a\u2028b"\nid = "x"')[("id",)] == 2


@pytest.mark.parametrize("text", ["{{ player.x | shout }}", "{{ label[player.x] }}", "{{ player.x | safe }}"])
def test_what_would_fail_or_escape_nothing_for_every_recipient_is_a_fault(text: str) -> None:
    campaign = document.from_json({**CAMPAIGN, "templates": {"email": {"html": text}}}, "test")

    assert [pointer for pointer, _ in templates.faults(campaign)] == ["/templates/email/html"]


def test_the_environment_cannot_set_a_section_and_its_parts() -> None:
    with pytest.raises(ConfigError, match="PROMOCAST_API__PORT"):
        load(None, {"PROMOCAST_API": "x", "PROMOCAST_API__PORT": "1"})


def test_a_secret_is_text_whatever_it_looks_like(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("[1]")

    found = load(None, {"PROMOCAST_CHANNELS__EMAIL__PASSWORD_FILE": str(secret)})

    assert found.channels.email.password.get_secret_value() == "[1]"


def test_a_secret_that_is_no_text_is_refused_without_being_repeated(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff\xfehidden")

    with pytest.raises(ConfigError, match="PASSWORD_FILE") as refused:
        load(None, {"PROMOCAST_CHANNELS__EMAIL__PASSWORD_FILE": str(secret)})

    assert "hidden" not in str(refused.value)
