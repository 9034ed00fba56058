"""Deposits over HTTP: kept once the ledger has them, judged afterwards, told with the verdict."""

from __future__ import annotations

from typing import Any

import pytest

from promocast import jobs
from promocast.model import MINUTE
from tests.api.conftest import Api, deposit_of

# Contract section 4.
VERDICT = {"deposit_id", "result", "code", "campaign", "reason", "detail", "reward", "near_miss", "trace"}


def test_one_deposit_is_accepted_and_the_verify_workers_are_rung_for(api: Api) -> None:
    client = api.client("deposits")

    answer = client.post("/v1/deposits", json=deposit_of())

    assert answer.status_code == 202
    assert answer.json() == {"accepted": 1, "rejected": []}
    assert api.rung(jobs.VERIFY) == 1


def test_a_deposit_is_told_as_it_came_and_without_a_verdict_until_it_is_judged(api: Api) -> None:
    client = api.client("deposits")
    facts = {"promo_code": "AB12CD", "payment_method": "VISA", "deposit_index": 1}
    client.post("/v1/deposits", json=deposit_of() | facts | {"occurred_at": "2026-11-24T09:59:00Z"})

    told = client.get("/v1/deposits/tx-1").json()

    assert told == {
        "deposit_id": "tx-1",
        "player_id": "p1",
        "amount": "50.00",
        "currency": "EUR",
        "status": "approved",
        "payment_method": "VISA",
        "occurred_at": "2026-11-24T09:59:00Z",
        "promo_code": "AB12CD",
        "deposit_index": 1,
        "received_at": "2026-11-24T10:00:00Z",
        "verdict": None,
    }


def test_an_accepted_deposit_has_the_whole_verdict_with_every_rule_it_passed(api: Api) -> None:
    client = api.client("deposits")
    code = api.issue("p1")["p1"]
    client.post("/v1/deposits", json=deposit_of(promo_code=code.lower()))
    api.work()

    verdict = client.get("/v1/deposits/tx-1").json()["verdict"]

    assert verdict.keys() == VERDICT
    trace = verdict.pop("trace")
    assert verdict == {
        "deposit_id": "tx-1",
        "result": "accepted",
        "code": code,
        "campaign": "welcome",
        "reason": None,
        "detail": None,
        "reward": None,
        "near_miss": None,
    }
    assert {check["rule"] for check in trace} >= {"expired", "already_redeemed", "below_minimum"}
    assert all(check["passed"] for check in trace)


def test_a_refused_deposit_says_why_and_what_would_have_passed(api: Api) -> None:
    client = api.client("deposits")
    code = api.issue("p1")["p1"]
    client.post("/v1/deposits", json=deposit_of(promo_code=code, amount="15.00"))
    api.work()

    verdict = client.get("/v1/deposits/tx-1").json()["verdict"]

    assert verdict.keys() == VERDICT
    assert (verdict["result"], verdict["reason"], verdict["code"]) == ("refused", "below_minimum", code)
    assert verdict["near_miss"] == {"changes": {"amount": "20.00"}, "text": "5.00 EUR short"}
    assert [check["rule"] for check in verdict["trace"] if not check["passed"]] == ["below_minimum"]


@pytest.mark.parametrize(
    ("facts", "result", "reason"),
    [
        ({"status": "requested"}, "pending", None),
        ({}, "no_code", None),
        ({"promo_code": "AB12CD"}, "waiting", "unknown_code"),
        ({"status": "rejected"}, "refused", "not_approved"),
    ],
)
def test_a_deposit_without_a_code_of_ours_has_a_whole_verdict_too(
    api: Api, facts: dict[str, Any], result: str, reason: str | None
) -> None:
    client = api.client("deposits")
    client.post("/v1/deposits", json=deposit_of(**facts))
    api.work()

    verdict = client.get("/v1/deposits/tx-1").json()["verdict"]

    assert verdict.keys() == VERDICT
    assert (verdict["result"], verdict["reason"], verdict["code"]) == (result, reason, None)


def test_an_unknown_code_is_waited_for_ten_minutes_and_then_refused(api: Api) -> None:
    client = api.client("deposits")
    client.post("/v1/deposits", json=deposit_of(promo_code="AB12CD"))
    api.work()
    waiting = client.get("/v1/deposits/tx-1").json()["verdict"]

    api.clock.advance(10 * MINUTE)
    api.work()
    refused = client.get("/v1/deposits/tx-1").json()["verdict"]

    assert (waiting["result"], refused["result"], refused["reason"]) == ("waiting", "refused", "unknown_code")


def test_of_a_list_the_good_are_accepted_and_the_bad_rejected_with_index_and_reason(api: Api) -> None:
    client = api.client("deposits")
    told = [
        deposit_of(deposit_id="tx-1"),
        deposit_of(deposit_id="tx-2", amount="5O.00"),
        deposit_of(deposit_id="tx-3", currency="EURO", status="paid"),
        "tx-4",
        deposit_of(deposit_id="tx-5"),
    ]

    answer = client.post("/v1/deposits", json=told)

    assert answer.status_code == 202
    assert answer.json()["accepted"] == 2
    rejected = {entry["index"]: entry["reason"] for entry in answer.json()["rejected"]}
    assert rejected.keys() == {1, 2, 3}
    assert rejected[1].startswith("invalid_deposit: /amount: ")
    assert "/currency: " in rejected[2]
    assert "/status: " in rejected[2]
    assert [client.get(f"/v1/deposits/tx-{i}").status_code for i in range(1, 6)] == [200, 404, 404, 404, 200]


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"amount": "-5.00"}, {"/amount"}),
        ({"amount": "50.001"}, {"/amount"}),
        ({"status": "paid", "currency": "XXXX"}, {"/status", "/currency"}),
        ({"player_id": None}, {"/player_id"}),
        ({"occurred_at": "2026-11-24T10:00:00"}, {"/occurred_at"}),
        ({"deposit_index": -1}, {"/deposit_index"}),
        ({"bonus": "10"}, {"/bonus"}),
    ],
)
def test_a_single_bad_deposit_is_refused_with_a_pointer_to_each_fault(
    api: Api, change: dict[str, Any], pointers: set[str]
) -> None:
    client = api.client("deposits")

    answer = client.post("/v1/deposits", json=deposit_of() | change)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "invalid_deposit"
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert client.get("/v1/deposits/tx-1").status_code == 404


def test_a_thousand_deposits_are_one_call_and_one_more_is_too_many(api: Api) -> None:
    client = api.client("deposits")
    told = [deposit_of(deposit_id=f"tx-{i}") for i in range(1_001)]

    too_many = client.post("/v1/deposits", json=told)
    none_kept = client.get("/v1/deposits/tx-0").status_code
    most = client.post("/v1/deposits", json=told[:-1])

    assert (too_many.status_code, none_kept) == (422, 404)
    assert most.json() == {"accepted": 1_000, "rejected": []}


def test_an_empty_list_is_refused(api: Api) -> None:
    assert api.client("deposits").post("/v1/deposits", json=[]).status_code == 422


def test_a_deposit_that_is_told_again_changes_nothing_and_rings_for_nobody(api: Api) -> None:
    client = api.client("deposits", "read")
    code = api.issue("p1")["p1"]
    client.post("/v1/deposits", json=deposit_of(promo_code=code))
    api.work()
    verdict = client.get("/v1/deposits/tx-1").json()["verdict"]

    again = client.post("/v1/deposits", json=[deposit_of(promo_code=code)] * 2)
    api.work()

    assert again.json() == {"accepted": 2, "rejected": []}
    assert api.rung(jobs.VERIFY) == 1
    assert client.get("/v1/deposits/tx-1").json()["verdict"] == verdict
    assert len(client.get(f"/v1/codes/{code}").json()["redemptions"]) == 1


def test_a_second_deposit_with_the_same_code_is_refused(api: Api) -> None:
    client = api.client("deposits")
    code = api.issue("p1")["p1"]
    client.post("/v1/deposits", json=[deposit_of(deposit_id=f"tx-{i}", promo_code=code) for i in (1, 2)])
    api.work()

    verdicts = [client.get(f"/v1/deposits/tx-{i}").json()["verdict"] for i in (1, 2)]

    assert [(verdict["result"], verdict["reason"]) for verdict in verdicts] == [
        ("accepted", None),
        ("refused", "already_redeemed"),
    ]


def test_a_contradiction_is_accepted_into_the_inbox_and_changes_nothing(api: Api) -> None:
    client = api.client("deposits")
    client.post("/v1/deposits", json=deposit_of())

    answer = client.post("/v1/deposits", json=deposit_of(amount="5000.00"))

    assert answer.status_code == 202
    assert client.get("/v1/deposits/tx-1").json()["amount"] == "50.00"
    [entry] = api.inbox()
    assert (entry.kind, entry.reason) == ("deposit", "conflict")
    assert b"5000.00" in entry.body


def test_a_players_deposits_are_listed_page_by_page_and_nobody_elses(api: Api) -> None:
    client = api.client("deposits", "read")
    told = [deposit_of("p1", f"tx-{i}") for i in range(6)] + [deposit_of("p2", "tx-9")]
    client.post("/v1/deposits", json=told)
    pages: list[list[str]] = []
    after: str | None = ""

    while after is not None:
        page = client.get("/v1/deposits", params={"player_id": "p1", "after": after, "limit": 2}).json()
        pages.append([item["deposit_id"] for item in page["items"]])
        after = page["next"]

    assert pages == [["tx-0", "tx-1"], ["tx-2", "tx-3"], ["tx-4", "tx-5"]], "and no empty page after the last"


def test_a_listed_deposit_is_told_as_a_single_one_is(api: Api) -> None:
    client = api.client("deposits")
    client.post("/v1/deposits", json=deposit_of())
    api.work()

    [item] = client.get("/v1/deposits", params={"player_id": "p1"}).json()["items"]

    assert item == client.get("/v1/deposits/tx-1").json()


def test_a_list_of_nobodys_deposits_is_refused_with_a_pointer(api: Api) -> None:
    answer = api.client("deposits").get("/v1/deposits")

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/player_id"]


def test_a_deposit_that_nobody_told_is_not_found(api: Api) -> None:
    answer = api.client("read").get("/v1/deposits/tx-404")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "unknown_deposit"
