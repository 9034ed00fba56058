"""Twilio's webhooks, signed by Twilio's own library."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from promocast.callbacks import Callback, Unproven, Unreadable
from promocast.callbacks.twilio import Twilio
from promocast.model import Reachability, Report
from promocast.settings import SmsSettings
from tests.channels.answers import load

URL = "https://promo.example.com"
TOKEN = "0123456789abcdef0123456789abcdef"
KEY = "d-0a1b2c3d-17"
PATH = f"/v1/callbacks/sms?delivery={KEY}"
STATUS = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+35699123456", "ErrorCode": ""}
ANSWER = {"MessageSid": "SM2", "From": "+35699123456", "To": "+35699000001", "Body": "Stop ", "NumMedia": "0"}


@pytest.fixture
def reader() -> Twilio:
    return Twilio(SmsSettings(account_sid="AC1", auth_token=SecretStr(TOKEN)), URL)


def callback(fields: dict[str, str], *, path: str = PATH, **headers: str) -> Callback:
    signature = RequestValidator(TOKEN).compute_signature(URL + path, fields)
    return Callback(path, {"x-twilio-signature": signature, **headers}, urlencode(fields).encode())


def test_the_signature_is_that_of_twilios_documentation() -> None:
    """The example of "Validating signatures" there."""
    settings = SmsSettings(account_sid="AC1", auth_token=SecretStr("12345"))
    fields = {
        "Digits": "1234",
        "To": "+18005551212",
        "From": "+14158675310",
        "Caller": "+14158675310",
        "CallSid": "CA1234567890ABCDE",
    }
    signed = {"x-twilio-signature": "L/OH5YylLD5NRKLltdqwSvS0BnU="}
    called = Callback("/myapp.php?foo=1&bar=2", signed, urlencode(fields).encode())

    with pytest.raises(Unreadable):  # it is a call's, and so not for us: but proven
        Twilio(settings, "https://example.com").read(called)


@pytest.mark.parametrize("row", load("twilio_callbacks"), ids=lambda row: row["body"])
def test_a_status_means_what_the_table_says(reader: Twilio, row: dict[str, Any]) -> None:
    fields = dict(part.split("=") for part in row["body"].split("&")) | {"MessageSid": "SM1"}

    [report] = reader.read(callback(fields))

    assert isinstance(report, Report)
    assert (report.key, report.ref) == (KEY, "SM1")
    assert word(report) == row["says"]


def word(report: Report) -> str:
    if report.halted:
        return "halted"
    if report.opted_out:
        return "opted_out"
    return "rejected_dead" if report.address_dead else report.says


def test_empty_fields_are_part_of_what_is_signed(reader: Twilio) -> None:
    assert reader.read(callback({**STATUS, "ErrorMessage": ""})) == (Report(KEY, "delivered", ref="SM1"),)


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {}},
        {"headers": {"x-twilio-signature": ""}},
        {"headers": {"x-twilio-signature": "AAAA"}},
        {"body": urlencode({**STATUS, "MessageStatus": "failed"}).encode()},
        {"path": "/v1/callbacks/sms?delivery=d-0a1b2c3d-18"},
        {"body": b"\xff\xfe"},
    ],
    ids=["no header", "empty", "wrong", "another body", "another delivery", "no text"],
)
def test_what_twilio_did_not_sign_is_refused(reader: Twilio, change: dict[str, Any]) -> None:
    signed = callback(STATUS)
    forged = {"path": signed.path, "headers": signed.headers, "body": signed.body} | change

    with pytest.raises(Unproven):
        reader.read(Callback(**forged))


def test_a_signature_by_a_shared_key_is_refused(reader: Twilio) -> None:
    settings = {"x-twilio-webhooks-signature-settings": "key=k,algorithm=HMAC_SHA256"}

    with pytest.raises(Unproven):
        reader.read(callback(STATUS, **settings))


def test_a_status_of_another_message_is_of_no_interest(reader: Twilio) -> None:
    assert reader.read(callback(STATUS, path="/v1/callbacks/sms")) == ()


@pytest.mark.parametrize(
    "said", ["STOP", " stop", "StopAll", "unsubscribe", "Cancel", "END", "quit", "REVOKE", "OptOut"]
)
def test_a_player_who_answers_stop_wants_no_more(reader: Twilio, said: str) -> None:
    assert reader.read(callback({**ANSWER, "Body": said})) == (
        Reachability("sms", "+35699123456", reachable=False, why="answered STOP"),
    )


@pytest.mark.parametrize("said", ["START", "yes", "Unstop"])
def test_a_player_who_answers_start_may_be_written_to_again(reader: Twilio, said: str) -> None:
    assert reader.read(callback({**ANSWER, "Body": said})) == (
        Reachability("sms", "+35699123456", reachable=True, why="answered START"),
    )


def test_what_twilio_made_of_an_answer_counts_before_its_words(reader: Twilio) -> None:
    """With Advanced Opt-Out an operator chooses the words, in any language."""
    [told] = reader.read(callback({**ANSWER, "Body": "ARRET", "OptOutType": "STOP"}))

    assert isinstance(told, Reachability)
    assert not told.reachable


@pytest.mark.parametrize("said", ["thanks", "please stop", ""])
def test_other_answers_change_nothing(reader: Twilio, said: str) -> None:
    assert reader.read(callback({**ANSWER, "Body": said})) == ()


@pytest.mark.parametrize("fields", [{}, {"MessageStatus": "lost"}, {"From": "+35699123456"}])
def test_what_is_documented_nowhere_is_told_apart(reader: Twilio, fields: dict[str, str]) -> None:
    with pytest.raises(Unreadable):
        reader.read(callback(fields))
