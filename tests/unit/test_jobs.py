"""Reading what comes in: what is good is taken, and what is bad is told by its place and reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from promocast import jobs, recipients
from promocast.errors import Fault, InputError
from promocast.jobs import Deposit, IssueJob
from promocast.model import PushSubscription, parse_rfc3339
from promocast.recipients import Recipient, Rejection

HALF_A_PAIR = "\ud800"


def job(*recipients: Any, **head: Any) -> dict[str, Any]:
    return {"version": 1, "request_id": "r-1", "campaign": "welcome", "recipients": list(recipients)} | head


def ann(**facts: Any) -> dict[str, Any]:
    return {"player_id": "ann"} | facts


def read(*recipients: Any, **head: Any) -> IssueJob:
    return jobs.read_issue_job(job(*recipients, **head))


def rejected(recipient: Any) -> Rejection:
    told = recipients.read_recipient(recipient, 0)
    assert isinstance(told, Rejection)
    return told


def stored(**facts: Any) -> dict[str, Any]:
    """A recipient as the ledger keeps it."""
    recipient = recipients.read_recipient(ann(**facts), 0)
    assert isinstance(recipient, Recipient)
    kept: dict[str, Any] = json.loads(recipient.stored())
    return kept


# Issue jobs as a whole.


def test_the_job_of_the_contract_is_read_whole() -> None:
    webpush = {"endpoint": "https://push.example.com/x", "expirationTime": None, "keys": {"p256dh": "k", "auth": "a"}}
    recipient = {
        "player_id": "84213",
        "locale": "en",
        "timezone": "Europe/Malta",
        "addresses": {
            "popup": "84213",
            "email": "ann@example.com",
            "sms": "+35699123456",
            "telegram": "1001",
            "push": [{"kind": "fcm", "token": "t"}, {"kind": "webpush", "subscription": webpush}],
        },
        "attributes": {"first_name": "Ann", "vip_level": 2},
    }

    made = read(recipient, request_id="crm-2026-11-24-000017", requested_at="2026-11-24T10:00:00Z")

    assert (made.request_id, made.campaign, made.rejected) == ("crm-2026-11-24-000017", "welcome", ())
    [read_recipient] = made.recipients
    assert (read_recipient.player_id, read_recipient.timezone) == ("84213", "Europe/Malta")
    assert read_recipient.addresses.email == "ann@example.com"
    assert [address.kind for address in read_recipient.addresses.push] == ["fcm", "webpush"]
    assert read_recipient.attributes == {"first_name": "Ann", "vip_level": 2}


@pytest.mark.parametrize(
    ("values", "pointer", "reason"),
    [
        (None, "", "valid dictionary"),
        ([], "", "valid dictionary"),
        ("a job", "", "valid dictionary"),
        (job(ann(), version=2), "/version", "Input should be 1"),
        (job(ann(), request_id=""), "/request_id", "at least 1 character"),
        (job(ann(), request_id="r" * 257), "/request_id", "at most 256 characters"),
        (job(ann(), request_id="r\x00"), "/request_id", "match pattern"),
        (job(ann(), request_id=HALF_A_PAIR), "/request_id", "unicode"),
        (job(ann(), request_id=None), "/request_id", "valid string"),
        (job(ann(), campaign=True), "/campaign", "valid string"),
        (job(ann(), requested_at="yesterday"), "/requested_at", "yesterday"),
        (job(ann(), requested_at="2026-11-24T10:00:00"), "/requested_at", "has no time zone"),
        (job(), "/recipients", "at least 1 item"),
        (job(ann(), recipients={"player_id": "ann"}), "/recipients", "valid list"),
        (job(ann(), recipients_url="https://example.com"), "/recipients_url", "unknown key"),
        (job(ann()) | {"a/b~c": 1}, "/a~1b~0c", "unknown key"),
    ],
    ids=ascii,
)
def test_a_job_that_makes_no_sense_is_refused_with_a_pointer(values: Any, pointer: str, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        jobs.read_issue_job(values)

    [fault] = refused.value.faults
    assert refused.value.reason == "invalid_job"
    assert fault.pointer == pointer
    assert reason in fault.reason


def test_every_fault_of_a_job_is_told() -> None:
    with pytest.raises(InputError) as refused:
        jobs.read_issue_job({"request_id": "", "recipients": []})

    assert {fault.pointer for fault in refused.value.faults} == {"/request_id", "/campaign", "/recipients"}


def test_what_a_sender_wrote_is_not_repeated_to_others() -> None:
    secret = "ann@example.com"

    with pytest.raises(InputError) as refused:
        jobs.read_issue_job(job(ann(), campaign={"to": secret}, request_id=[secret]))

    assert secret not in repr(refused.value.faults)


@pytest.mark.parametrize(("count", "most"), [(500, jobs.MOST_RECIPIENTS_PER_JOB), (3, 3)])
def test_a_job_has_as_many_recipients_as_allowed_and_no_more(count: int, most: int) -> None:
    players = [{"player_id": str(i)} for i in range(count + 1)]

    assert len(jobs.read_issue_job(job(*players[:count]), most).recipients) == count
    with pytest.raises(InputError) as refused:
        jobs.read_issue_job(job(*players), most)
    assert refused.value.faults == [
        Fault("/recipients", f"at most {most} recipients in one job; send the rest as further parts")
    ]


# Recipients.


def test_bad_recipients_are_set_aside_and_the_good_ones_go_on() -> None:
    made = read(ann(), {"player_id": "bob", "timezone": "Mars/Olympus"}, "nobody", {"player_id": "carol"})

    assert [recipient.player_id for recipient in made.recipients] == ["ann", "carol"]
    assert [(rejection.index, rejection.player_id) for rejection in made.rejected] == [(1, "bob"), (2, None)]


def test_a_player_named_twice_is_taken_once_and_told_so() -> None:
    made = read(ann(locale="en"), ann(locale="mt"))

    assert [recipient.locale for recipient in made.recipients] == ["en"]
    assert made.rejected == (Rejection(1, "ann", "duplicate_recipient"),)


@pytest.mark.parametrize(
    ("recipient", "told"),
    [
        (None, "/: Input should be a valid dictionary"),
        (7, "/: Input should be a valid dictionary"),
        ([], "/: Input should be a valid dictionary"),
        ({}, "/player_id: Field required"),
        ({"player_id": ""}, "/player_id: String should have at least 1 character"),
        ({"player_id": "p" * 257}, "/player_id: String should have at most 256 characters"),
        ({"player_id": True}, "/player_id: Input should be a valid string"),
        ({"player_id": {"id": 1}}, "/player_id: Input should be a valid string"),
        ({"player_id": "a\nb"}, "/player_id: String should match pattern"),
        ({"player_id": "a\n"}, "/player_id: String should match pattern"),
        ({"player_id": "a\x7f"}, "/player_id: String should match pattern"),
        (ann(nickname="A"), "/nickname: unknown key"),
        (ann(**{"a/b": 1}), "/a~1b: unknown key"),
        (ann(locale=HALF_A_PAIR), "/locale: Input should be a valid string, unable to parse"),
        (ann(locale="x" * 36), "/locale: String should have at most 35 characters"),
        (ann(timezone="Mars/Olympus"), "/timezone: no time zone of the IANA database"),
        (ann(timezone="Europe"), "/timezone: no time zone of the IANA database"),
        (ann(timezone="../../etc/passwd"), "/timezone: no time zone of the IANA database"),
        (ann(timezone="Europe/\x00"), "/timezone: no time zone of the IANA database"),
        (ann(addresses={"fax": "1"}), "/addresses/fax: unknown key"),
        (ann(addresses={"fcm": "t"}), "/addresses/fcm: unknown key"),
        (ann(addresses={"push": [{"kind": "fcm", "token": ""}]}), "/addresses/push/0/token: String should have"),
        (ann(addresses={"push": [{"kind": "fcm", "token": "t", "fcm": 1}]}), "/addresses/push/0/fcm: unknown key"),
        (ann(addresses={"popup": "a\x00"}), "/addresses/popup: String should match pattern"),
        (ann(addresses={"email": ""}), "/addresses/email: String should have at least 1 character"),
        (ann(addresses={"email": "e" * 321}), "/addresses/email: String should have at most 320 characters"),
        (ann(addresses={"sms": "1" * 65}), "/addresses/sms: String should have at most 64 characters"),
        (ann(addresses={"sms": HALF_A_PAIR}), "/addresses/sms: Input should be a valid string, unable to parse"),
        (ann(addresses={"telegram": ["1"]}), "/addresses/telegram: Input should be a valid string"),
        (ann(addresses={"push": "token"}), "/addresses/push: Input should be a valid tuple"),
        (ann(addresses={"push": [{"kind": "apns"}]}), "/addresses/push/0: Input tag 'apns'"),
        (ann(addresses={"push": [{"token": "t"}]}), "/addresses/push/0: Unable to extract tag"),
        (
            ann(addresses={"push": [{"kind": "fcm", "token": str(i)} for i in range(21)]}),
            "/addresses/push: Tuple should have at most 20 items",
        ),
        (ann(attributes=[]), "/attributes: Input should be a valid dictionary"),
        (ann(attributes={"a": HALF_A_PAIR}), "/attributes: holds what JSON cannot"),
        (ann(attributes={HALF_A_PAIR: "a"}), "/attributes: holds what JSON cannot"),
        (ann(attributes={"a": [{"b": 2**64}]}), "/attributes: holds what JSON cannot"),
        (ann(attributes={"a": "x" * 16_384}), "/attributes: has more than 16384 bytes as JSON"),
        (ann(attributes={str(i): 1 for i in range(201)}), "/attributes: Dictionary should have at most 200 items"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_recipient_is_rejected_with_a_pointer_to_its_fault(recipient: Any, told: str) -> None:
    assert rejected(recipient).reason.startswith(f"invalid_recipient: {told}")


def test_a_rejection_tells_the_place_the_player_and_the_reason() -> None:
    made = read(ann(), {"player_id": 7, "locale": 1j})

    [rejection] = made.rejected
    assert rejection.as_json() == {
        "index": 1,
        "player_id": "7",
        "reason": "invalid_recipient: /locale: Input should be a valid string",
    }


def test_attributes_may_fill_their_limit_to_the_byte() -> None:
    around = len('{"a":""}')

    assert stored(attributes={"a": "x" * (16_384 - around)})["attributes"]["a"]
    assert "more than 16384" in rejected(ann(attributes={"a": "x" * (16_385 - around)})).reason


def test_ids_may_come_as_numbers() -> None:
    made = read({"player_id": 84213, "addresses": {"telegram": 1001, "popup": 84213}}, request_id=17)

    [recipient] = made.recipients
    assert made.request_id == "17"
    assert (recipient.player_id, recipient.addresses.telegram, recipient.addresses.popup) == ("84213", "1001", "84213")


def test_a_number_and_its_digits_are_one_player() -> None:
    made = read({"player_id": 7}, {"player_id": "7"})

    assert [rejection.reason for rejection in made.rejected] == ["duplicate_recipient"]


def test_a_popup_goes_to_the_player_unless_told_otherwise() -> None:
    assert stored()["addresses"]["popup"] == "ann"
    assert stored(addresses={"popup": "a-7"})["addresses"]["popup"] == "a-7"


def test_what_is_stored_leaves_out_the_player_and_what_was_not_told() -> None:
    assert stored(timezone="Europe/Malta").keys() == {"timezone", "addresses"}


# Digests.


def test_the_digest_of_a_job_is_the_same_however_its_keys_are_ordered() -> None:
    written = job(ann(locale="en", attributes={"a": 1, "b": [{"c": 2, "d": 3}]}))
    reordered = json.loads(json.dumps(written, sort_keys=True))
    backwards = dict(reversed(reordered.items()))

    digests = {jobs.read_issue_job(values).digest for values in (written, reordered, backwards)}

    assert len(digests) == 1


@pytest.mark.parametrize(
    "other",
    [
        job(ann(locale="mt")),
        job(ann(), {"player_id": "bob"}),
        job(ann(), campaign="other"),
        job(ann(attributes={"a": 1})),
        job({"player_id": "bob"}, ann()),
    ],
)
def test_the_digest_of_another_content_is_another(other: dict[str, Any]) -> None:
    assert jobs.read_issue_job(other).digest != read(ann()).digest


def test_the_digest_covers_what_was_rejected_too() -> None:
    assert read(ann(), {"player_id": "bob", "fax": 1}).digest != read(ann()).digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(json_values)
@hypothesis_settings(max_examples=100, derandomize=True)
def test_whatever_came_is_kept_as_json_that_says_the_same(values: Any) -> None:
    assert json.loads(jobs.as_bytes(values)) == values


@pytest.mark.parametrize("values", [HALF_A_PAIR, {"a": b"\xff"}, {"a": {1, 2}}, object()], ids=ascii)
def test_even_what_is_no_json_is_kept_to_be_looked_at(values: Any) -> None:
    assert json.loads(jobs.as_bytes(values))


# Addresses of a stored recipient.

EVERYWHERE: dict[str, Any] = {
    "addresses": {
        "popup": "ann",
        "email": "ann@example.com",
        "push": [
            {"kind": "fcm", "token": "token-1"},
            {"kind": "webpush", "subscription": {"endpoint": "https://p", "keys": {"p256dh": "k", "auth": "a"}}},
        ],
    }
}


@pytest.mark.parametrize(("channel", "count"), [("popup", 1), ("email", 1), ("push", 2), ("sms", 0), ("call", 0)])
def test_a_channel_has_the_addresses_that_were_given_for_it(channel: str, count: int) -> None:
    assert len(recipients.addresses_on(EVERYWHERE, channel)) == count


def test_a_recipient_whose_addresses_were_erased_has_none() -> None:
    assert list(recipients.addresses_on({}, "email")) == []


@pytest.mark.parametrize(
    ("channel", "slot", "address"),
    [
        ("popup", 0, ("popup", "ann")),
        ("email", 0, ("email", "ann@example.com")),
        ("push", 0, ("push.fcm", "token-1")),
        ("push", 1, ("push.webpush", PushSubscription("https://p", "k", "a"))),
    ],
)
def test_each_address_names_its_adapter(channel: str, slot: int, address: tuple[str, Any]) -> None:
    assert recipients.address_at(EVERYWHERE, channel, slot) == address


@pytest.mark.parametrize(("channel", "slot"), [("sms", 0), ("email", 1), ("push", 2)])
def test_an_address_that_is_not_there_is_a_lookup_error(channel: str, slot: int) -> None:
    with pytest.raises(LookupError):
        recipients.address_at(EVERYWHERE, channel, slot)


def test_an_address_that_was_read_is_found_where_it_was_stored() -> None:
    kept = stored(addresses={"sms": "+35699123456", "push": [{"kind": "fcm", "token": "t"}]})

    assert recipients.address_at(kept, "sms", 0) == ("sms", "+35699123456")
    assert recipients.address_at(kept, "push", 0) == ("push.fcm", "t")
    assert recipients.address_at(kept, "popup", 0) == ("popup", "ann")


# Deposits.


def tx(**facts: Any) -> dict[str, Any]:
    ordinary = {
        "deposit_id": "tx-991",
        "player_id": "84213",
        "amount": "50.00",
        "currency": "EUR",
        "status": "approved",
    }
    return ordinary | facts


def faults_of(values: Any) -> list[Fault]:
    with pytest.raises(InputError) as refused:
        jobs.read_deposit(values)
    assert refused.value.reason == "invalid_deposit"
    return refused.value.faults


def test_the_deposit_of_the_contract_is_read_whole() -> None:
    values = tx(payment_method="VISA", occurred_at="2026-11-24T11:00:00Z", promo_code="AB12CD", deposit_index=1)

    assert jobs.read_deposit(values) == Deposit(
        deposit_id="tx-991",
        player_id="84213",
        amount="50.00",
        currency="EUR",
        status="approved",
        payment_method="VISA",
        occurred_at=parse_rfc3339("2026-11-24T11:00:00Z"),
        promo_code="AB12CD",
        deposit_index=1,
    )


def test_a_deposits_facts_are_only_what_it_says() -> None:
    facts = jobs.read_deposit({"deposit_id": "1", "player_id": "ann", "status": "cancelled"}).facts()

    assert facts == {"status": "cancelled"}


@pytest.mark.parametrize(("sent", "amount"), [(50, "50"), (50.5, "50.5"), ("50.00", "50.00")])
def test_an_amount_may_come_as_a_number(sent: Any, amount: str) -> None:
    assert jobs.read_deposit(tx(amount=sent)).amount == amount


@pytest.mark.parametrize("currency", ["EUR", "eur", "Eur"])
def test_a_currency_is_kept_in_upper_case(currency: str) -> None:
    assert jobs.read_deposit(tx(currency=currency)).currency == "EUR"


@pytest.mark.parametrize(
    ("facts", "pointer", "reason"),
    [
        ({"amount": "50.001"}, "/amount", "50.001 has more digits than EUR has"),
        ({"amount": "50.5", "currency": "JPY"}, "/amount", "50.5 has more digits than JPY has"),
        ({"amount": "50.5", "currency": "jpy"}, "/amount", "50.5 has more digits than JPY has"),
        ({"amount": 0.1 + 0.2}, "/amount", "has more digits than EUR has"),
        ({"amount": "50.00001", "currency": None}, "/amount", "has more digits"),
        ({"amount": "0"}, "/amount", "above zero"),
        ({"amount": 0}, "/amount", "above zero"),
        ({"amount": "-50.00"}, "/amount", "above zero"),
        ({"amount": -50}, "/amount", "above zero"),
        ({"amount": "NaN"}, "/amount", "no decimal"),
        ({"amount": float("nan")}, "/amount", "no decimal"),
        ({"amount": float("inf")}, "/amount", "no decimal"),
        ({"amount": "1e20"}, "/amount", "at most 15 digits"),
        ({"amount": "fifty"}, "/amount", "no decimal amount"),
        ({"amount": True}, "/amount", "valid string"),
        ({"currency": "EURO"}, "/currency", "no ISO 4217 currency"),
        ({"currency": HALF_A_PAIR}, "/currency", "no ISO 4217 currency"),
        ({"status": "paid"}, "/status", "'requested', 'approved'"),
        ({"status": "APPROVED"}, "/status", "'requested', 'approved'"),
        ({"deposit_id": ""}, "/deposit_id", "at least 1 character"),
        ({"player_id": "a\x00"}, "/player_id", "match pattern"),
        ({"player_id": HALF_A_PAIR}, "/player_id", "unicode"),
        ({"promo_code": "X" * 257}, "/promo_code", "at most 256 characters"),
        ({"promo_code": HALF_A_PAIR}, "/promo_code", "unicode"),
        ({"payment_method": "X" * 65}, "/payment_method", "at most 64 characters"),
        ({"deposit_index": -1}, "/deposit_index", "greater than or equal to 0"),
        ({"deposit_index": "first"}, "/deposit_index", "valid integer"),
        ({"occurred_at": "2026-11-24"}, "/occurred_at", "has no time zone"),
        ({"occurred_at": "today"}, "/occurred_at", "today"),
        ({"bonus": 1}, "/bonus", "unknown key"),
    ],
    ids=ascii,
)
def test_a_deposit_that_cannot_be_understood_says_where_and_why(
    facts: dict[str, Any], pointer: str, reason: str
) -> None:
    [fault] = faults_of(tx(**facts))

    assert fault.pointer == pointer
    assert reason in fault.reason


def test_every_fault_of_a_deposit_is_told() -> None:
    assert {fault.pointer for fault in faults_of({"amount": "0", "status": "paid"})} == {
        "/deposit_id",
        "/player_id",
        "/amount",
        "/status",
    }


def test_an_amount_whose_currency_another_message_names_may_have_the_digits_of_any() -> None:
    told = jobs.read_deposit({"deposit_id": "1", "player_id": "ann", "status": "requested", "amount": "0.0001"})

    assert told.amount == "0.0001"


@pytest.mark.parametrize("values", [None, [], "tx-991", 7])
def test_what_is_no_deposit_at_all_is_refused(values: Any) -> None:
    assert [fault.pointer for fault in faults_of(values)] == [""]


# Client actions.


def shown(**facts: Any) -> dict[str, Any]:
    payload = {"client_action": "CODE_IS_SHOWN", "code": "AB12CD"}
    return {"eid": "e-1", "event_type": "client_action", "user_ext_id": "ann", "payload": payload} | facts


@pytest.mark.parametrize("date", ["2026-11-24T10:00:00Z", "2026-11-24T11:00:00+01:00", 1795514400000, "1795514400000"])
def test_a_client_actions_date_is_rfc_3339_or_epoch_milliseconds(date: Any) -> None:
    assert jobs.ClientAction.model_validate(shown(event_date=date)).event_date == 1795514400000


def test_a_client_action_may_carry_more_than_we_read() -> None:
    payload = {"client_action": "CODE_IS_SHOWN", "code": "AB12CD", "screen": "lobby"}

    action = jobs.ClientAction.model_validate(shown(payload=payload, brand="one", user_ext_id=7))

    assert (action.user_ext_id, action.payload.code) == ("7", "AB12CD")
