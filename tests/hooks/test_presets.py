"""Presets: every field and every status of each, as its system sends them; and what is damaged is never guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promocast import hooks
from promocast.jobs import Deposit
from promocast.model import parse_rfc3339
from promocast.settings import HookSettings
from tests.hooks.bodies import FASTTRACK, GENERIC, SHOWN, SMARTICO, changed, fasttrack, generic, smartico


def one(body: bytes, settings: HookSettings) -> Deposit:
    heard = hooks.read(body, settings)
    assert (heard.faults, heard.ignored) == ((), 0)
    [deposit] = heard.deposits
    return deposit


def fault(body: bytes, settings: HookSettings) -> str:
    """The pointer of the one fault of a body of which nothing is taken."""
    heard = hooks.read(body, settings)
    assert (heard.accepted, heard.ignored, heard.unreadable) == (0, 0, 1)
    [found] = heard.faults
    return found.pointer


# Each field.


def test_a_deposit_of_smartico() -> None:
    assert one(SMARTICO.encode(), smartico).model_dump() == {
        "deposit_id": "tx-991",
        "player_id": "84213",
        "status": "approved",
        "currency": "EUR",
        "amount": "50.10",
        "payment_method": "VISA",
        "occurred_at": 1795514395000,
        "promo_code": None,
        "deposit_index": None,
    }


def test_a_payment_of_fast_track() -> None:
    assert one(FASTTRACK.encode(), fasttrack).model_dump() == {
        "deposit_id": "23541",
        "player_id": "7865312321",
        "status": "approved",
        "currency": "EUR",
        "amount": "32.76",
        "payment_method": "Skrill",
        "occurred_at": parse_rfc3339("2026-11-24T08:27:58.721607Z"),
        "promo_code": "AB12CD",
        "deposit_index": None,
    }


def test_a_payment_by_a_field_map() -> None:
    assert one(GENERIC.encode(), generic).model_dump() == {
        "deposit_id": "psp-4711",
        "player_id": "84213",
        "status": "approved",
        "currency": "EUR",
        "amount": "50.10",
        "payment_method": "VISA",
        "occurred_at": 1795514395000,
        "promo_code": "AB12CD",
        "deposit_index": 1,
    }


def test_a_client_action_of_smartico() -> None:
    heard = hooks.read(SHOWN.encode(), smartico)

    [action] = heard.actions
    assert (heard.deposits, heard.faults, heard.player_id) == ((), (), "84213")
    assert (action.eid, action.user_ext_id) == ("0c5b7d2a-91a4-4a9e-8a54-2f4f5a1f3f10", "84213")
    assert action.event_date == 1795514400000
    assert (action.payload.client_action, action.payload.code) == ("CODE_IS_SHOWN", "AB12CD")


# Statuses.


@pytest.mark.parametrize("event_type", ["acc_deposit_approved", "acc_deposit_approve"])
@pytest.mark.parametrize(
    ("rollback", "status"),
    [
        (..., "approved"),
        (None, "approved"),
        (False, "approved"),
        ("false", "approved"),
        (0, "approved"),
        ("0", "approved"),
        (True, "rolled_back"),
        ("true", "rolled_back"),
        ("True", "rolled_back"),
        (1, "rolled_back"),
        ("1", "rolled_back"),
    ],
)
def test_smarticos_events_and_rollbacks(event_type: str, rollback: Any, status: str) -> None:
    body = changed(SMARTICO, event_type=event_type, payload__acc_is_rollback=rollback)

    assert one(body, smartico).status == status


def test_a_rollback_is_heard_whatever_its_amount_looks_like() -> None:
    for amount, read in [(-50.1, "50.1"), ("-50.10", "50.10"), (..., None)]:
        body = changed(SMARTICO, payload__acc_is_rollback=True, payload__acc_last_deposit_amount=amount)
        assert one(body, smartico).amount == read


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Requested", "requested"),
        ("Approved", "approved"),
        ("Rejected", "rejected"),
        ("Cancelled", "cancelled"),
        ("Rollback", "rolled_back"),
        ("APPROVED", "approved"),
    ],
)
def test_fast_tracks_statuses_each_of_the_same_payment(theirs: str, ours: str) -> None:
    deposit = one(changed(FASTTRACK, status=theirs), fasttrack)

    assert (deposit.deposit_id, deposit.status) == ("23541", ours)


def test_what_the_map_calls_a_status_whatever_its_case() -> None:
    for theirs, ours in [("settled", "approved"), ("Failed", "rejected"), ("REFUNDED", "rolled_back")]:
        assert one(changed(GENERIC, data__payments__0__state=theirs), generic).status == ours


def test_without_a_map_statuses_are_our_own_words() -> None:
    fields = {"deposit_id": "id", "player_id": "player", "amount": "amount", "status": "status"}
    settings = HookSettings.model_validate({"preset": "generic", "secrets": ["s"], "fields": fields})

    for status in ("requested", "approved", "rejected", "cancelled", "rolled_back"):
        body = json.dumps({"id": "1", "player": 7, "amount": "5", "status": status}).encode()
        assert one(body, settings).status == status


# Of no interest.


@pytest.mark.parametrize(
    ("body", "settings"),
    [
        (changed(SMARTICO, event_type="acc_withdrawal_approved"), smartico),
        (changed(SMARTICO, event_type="casino_win"), smartico),
        (changed(SHOWN, payload__code=...), smartico),
        (changed(FASTTRACK, type="Debit"), fasttrack),
        (changed(FASTTRACK, type="Debit", status="Rollback"), fasttrack),
        (changed(GENERIC, data__payments__0__kind="payout"), generic),
        (changed(GENERIC, data__payments__0__state="created"), generic),
    ],
)
def test_withdrawals_and_other_events_are_counted_and_nothing_more(body: bytes, settings: HookSettings) -> None:
    heard = hooks.read(body, settings)

    assert (heard.accepted, heard.ignored, heard.unreadable) == (0, 1, 0)


# Numbers, strings, times.


@pytest.mark.parametrize("written", ["50.10", '"50.10"', "50.1", "5010e-2", "0.1e3", "999999999999999.99", "0.30"])
@pytest.mark.parametrize("preset", ["smartico", "fasttrack"])
def test_an_amount_is_exactly_what_was_written(preset: str, written: str) -> None:
    body, settings = (SMARTICO.replace("50.10", written), smartico)
    if preset == "fasttrack":
        body, settings = (FASTTRACK.replace("32.76", written), fasttrack)

    assert one(body.encode(), settings).amount == written.strip('"')


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [
        (5010, "EUR", "50.10"),
        ("5010", "EUR", "50.10"),
        (5010, "JPY", "5010"),
        (5010, "KWD", "5.010"),
        (1, "EUR", "0.01"),
    ],
)
def test_an_amount_in_the_smallest_unit(minor: Any, currency: str, amount: str) -> None:
    changes = {"data__payments__0__amount": {"value": minor, "currency": currency}}

    assert one(changed(GENERIC, **changes), generic).amount == amount


def test_ids_may_be_numbers_and_every_number_may_be_text() -> None:
    for value in (84213, "84213"):
        assert one(changed(SMARTICO, user_ext_id=value), smartico).player_id == "84213"
        assert one(changed(SMARTICO, payload__acc_last_transaction_id=value), smartico).deposit_id == "84213"
        assert one(changed(FASTTRACK, payment_id=value, bonus_code=value), fasttrack).promo_code == "84213"
    for date in (1795514395000, "1795514395000", 1795514395, "2026-11-24T08:39:55Z"):
        assert one(changed(SMARTICO, payload__acc_last_deposit_date=date), smartico).occurred_at is not None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-24T8:27:58.721607Z", "2026-11-24T08:27:58.721607Z"),
        ("2026-11-24T08:27:58Z", "2026-11-24T08:27:58Z"),
        ("2026-11-24T18:27:58+02:00", "2026-11-24T16:27:58Z"),
        ("2026-11-24 8:27:58Z", "2026-11-24T08:27:58Z"),
        (1795508878, "2026-11-24T08:27:58Z"),
        ("1795508878000", "2026-11-24T08:27:58Z"),
    ],
)
def test_a_time_however_it_is_written(written: Any, meant: str) -> None:
    assert one(changed(FASTTRACK, timestamp=written), fasttrack).occurred_at == parse_rfc3339(meant)


def test_where_the_deposits_date_is_missing_the_events_counts() -> None:
    body = changed(SMARTICO, payload__acc_last_deposit_date=None)

    assert one(body, smartico).occurred_at == 1795514400000


# Settings of a source.


def test_a_prefix_keeps_the_ids_of_two_systems_apart() -> None:
    one_casino = smartico.model_copy(update={"id_prefix": "s1:"})

    assert one(SMARTICO.encode(), one_casino).deposit_id == "s1:tx-991"
    [action] = hooks.read(SHOWN.encode(), one_casino).actions
    assert action.eid == "s1:0c5b7d2a-91a4-4a9e-8a54-2f4f5a1f3f10"


def test_a_currency_of_the_source_stands_in_for_a_missing_one_only() -> None:
    dollars = smartico.model_copy(update={"currency": "USD"})

    assert one(changed(SMARTICO, payload__core_wallet_currency=...), dollars).currency == "USD"
    assert one(SMARTICO.encode(), dollars).currency == "EUR"
    euros = fasttrack.model_copy(update={"currency": "EUR"})
    assert one(changed(FASTTRACK, currency=""), euros).currency == "EUR"


def test_a_code_is_found_where_the_operator_says() -> None:
    settings = smartico.model_copy(update={"fields": {"promo_code": "payload.my_code", "deposit_index": "payload.nth"}})

    deposit = one(changed(SMARTICO, payload__my_code="AB12CD", payload__nth="3"), settings)

    assert (deposit.promo_code, deposit.deposit_index) == ("AB12CD", 3)
    assert one(SMARTICO.encode(), settings).promo_code is None


def test_a_list_is_read_event_by_event_and_a_bad_one_holds_up_none() -> None:
    events = [json.loads(FASTTRACK), {"type": "Debit"}, "no event", json.loads(FASTTRACK) | {"amount": 0}]

    heard = hooks.read(json.dumps(events).encode(), fasttrack)

    assert (heard.accepted, heard.ignored, heard.unreadable) == (1, 1, 2)
    assert [each.pointer for each in heard.faults] == ["/2", "/3/amount"]


def test_whom_a_body_is_about() -> None:
    events = [json.loads(FASTTRACK), json.loads(FASTTRACK) | {"user_id": "2"}]

    assert hooks.read(changed(FASTTRACK, amount=None), fasttrack).player_id == "7865312321"
    assert hooks.read(json.dumps(events).encode(), fasttrack).player_id is None


# Unreadable.


@pytest.mark.parametrize(
    ("body", "settings", "pointer"),
    [
        (changed(SMARTICO, payload__acc_last_deposit_amount=...), smartico, "/payload/acc_last_deposit_amount"),
        (changed(SMARTICO, payload__acc_last_deposit_amount=True), smartico, "/payload/acc_last_deposit_amount"),
        (changed(SMARTICO, payload__acc_last_deposit_amount="50,10"), smartico, "/amount"),
        (changed(SMARTICO, payload__acc_last_deposit_amount="0.00"), smartico, "/amount"),
        (changed(SMARTICO, payload__acc_last_deposit_amount=-5), smartico, "/amount"),
        (changed(SMARTICO, payload__acc_is_rollback="maybe"), smartico, "/payload/acc_is_rollback"),
        (changed(SMARTICO, payload__acc_is_rollback=[]), smartico, "/payload/acc_is_rollback"),
        (changed(SMARTICO, payload__acc_last_transaction_id=None), smartico, "/deposit_id"),
        (changed(SMARTICO, user_ext_id=""), smartico, "/player_id"),
        (changed(SMARTICO, event_type="acc_deposit_approvef"), smartico, "/event_type"),
        (changed(SMARTICO, event_type=...), smartico, "/event_type"),
        (changed(SMARTICO, payload=[]), smartico, "/payload"),
        (changed(SHOWN, payload__code=["AB12CD"]), smartico, "/payload/code"),
        (changed(SHOWN, eid=""), smartico, "/eid"),
        (changed(SHOWN, payload={"client_action": "CODE_IS_SHOWN", "Code": "AB12CD"}), smartico, "/payload/code"),
        (changed(FASTTRACK, amount=...), fasttrack, "/amount"),
        (changed(FASTTRACK, currency=None), fasttrack, "/currency"),
        (changed(FASTTRACK, currency="EURO"), fasttrack, "/currency"),
        (changed(FASTTRACK, amount=32.765), fasttrack, "/amount"),
        (changed(FASTTRACK, amount={}), fasttrack, "/amount"),
        (changed(FASTTRACK, status="Paid"), fasttrack, "/status"),
        (changed(FASTTRACK, status=None), fasttrack, "/status"),
        (changed(FASTTRACK, type="Transfer"), fasttrack, "/type"),
        (changed(FASTTRACK, payment_id=1.5), fasttrack, "/payment_id"),
        (changed(FASTTRACK, user_id="a\0b"), fasttrack, "/user_id"),
        (changed(FASTTRACK, user_id="\ud800"), fasttrack, "/player_id"),
        (changed(FASTTRACK, payment_id="9" * 257), fasttrack, "/deposit_id"),
        (changed(FASTTRACK, timestamp="yesterday"), fasttrack, "/timestamp"),
        (changed(FASTTRACK, timestamp="2026-11-24T08:27:58"), fasttrack, "/timestamp"),
        (changed(FASTTRACK, bonus_code=True), fasttrack, "/bonus_code"),
        (FASTTRACK.replace("bonus_code", "bonus-code").encode(), fasttrack, "/bonus_code"),
        (FASTTRACK.replace("bonus_code", "bonus_codes").encode(), fasttrack, "/bonus_code"),
        (FASTTRACK.replace("bonus_code", "bonus_cod").encode(), fasttrack, "/bonus_code"),
        (FASTTRACK.replace("bonus_code", "Bonus_Code").encode(), fasttrack, "/bonus_code"),
        (changed(GENERIC, data__payments__0__amount__value=50.1), generic, "/data/payments/0/amount/value"),
        (changed(GENERIC, data__payments__0__amount__currency=None), generic, "/data/payments/0/amount/value"),
        (changed(GENERIC, data__payments__0__kind="depo sit"), generic, "/data/payments/0/kind"),
        (changed(GENERIC, data__payments__0__kind=...), generic, "/data/payments/0/kind"),
        (changed(GENERIC, data__payments=[]), generic, "/data/payments"),
        (changed(GENERIC, data={}), generic, "/data/payments"),
        (b"", fasttrack, ""),
        (b"[]", fasttrack, ""),
        (b"amount=5", fasttrack, ""),
        (b"7", fasttrack, ""),
        (FASTTRACK.encode("utf-16"), fasttrack, ""),
        (FASTTRACK.replace("string", "caf\xe9").encode("latin-1"), fasttrack, ""),
        (FASTTRACK.replace("32.76", "NaN").encode(), fasttrack, ""),
        (FASTTRACK.replace("32.76", "9" * 5000).encode(), fasttrack, "/amount"),
        (FASTTRACK.replace("32.76", '1, "amount": 2').encode(), fasttrack, ""),
        (b"[" * 100_000, fasttrack, ""),
        (FASTTRACK.replace('Z",\n', 'Z"\n').encode(), fasttrack, ""),  # as one of its published examples lacks a comma
    ],
)
def test_a_damaged_fact_is_a_fault_with_a_pointer_and_never_a_guess(
    body: bytes, settings: HookSettings, pointer: str
) -> None:
    assert fault(body, settings) == pointer


def test_a_byte_order_mark_is_let_pass() -> None:
    assert one(b"\xef\xbb\xbf" + FASTTRACK.encode(), fasttrack) == one(FASTTRACK.encode(), fasttrack)


def test_no_fault_tells_what_a_strangers_key_or_code_says() -> None:
    for body in (FASTTRACK.replace('"bonus_code"', '"bonus_codeX"'), FASTTRACK.replace("AB12CD", "AB12CD" * 50)):
        heard = hooks.read(body.encode(), fasttrack)
        assert heard.faults
        assert "X" not in heard.what_was_wrong
        assert "AB12CD" not in heard.what_was_wrong + repr(heard)
