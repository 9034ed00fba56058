"""Issuing over HTTP: accepted once the ledger has it, answered alike however often it is repeated."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal
from pydantic import SecretStr

from promocast import jobs
from promocast.model import HOUR
from promocast.settings import QueueSettings, Settings
from tests.api.conftest import CAMPAIGN, Api, deposit_of, job_for
from tests.conftest import StoppedClock


def test_a_job_is_accepted_into_the_ledger_and_the_issue_workers_are_rung_for(api: Api) -> None:
    client = api.client("issue")

    answer = client.post("/v1/issue", json=job_for("p1", "p2"))

    assert answer.status_code == 202
    assert answer.json() == {"request_id": "r-1", "accepted": 2, "rejected": []}
    assert api.rung(jobs.ISSUE) == 1
    told = client.get("/v1/requests/r-1").json()
    assert (told["accepted"], told["issued"]) == (2, 0)


def test_a_job_is_accepted_while_the_queue_is_away(
    settings: Settings, clock: StoppedClock, portal: BlockingPortal
) -> None:
    nowhere = QueueSettings(url=SecretStr("redis://127.0.0.1:1/0"))
    api = Api(settings.model_copy(update={"queue": nowhere}), clock, portal)
    api.apply(CAMPAIGN)

    answer = api.client("issue").post("/v1/issue", json=job_for("p1"))
    api.work()

    assert answer.status_code == 202
    assert api.client("read").get("/v1/requests/r-1").json()["issued"] == 1
    api.runtime.close()


def test_the_same_request_twenty_times_at_once_is_answered_alike_and_issues_one_code_each(api: Api) -> None:
    client = api.client("issue", "read")
    job = job_for("p1", "p2", "p3")
    gate = threading.Barrier(20)

    def ask(_: int) -> httpx.Response:
        gate.wait()
        answer = client.post("/v1/issue", json=job)
        api.work()
        return answer

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    issued = client.get("/v1/codes", params={"request_id": "r-1"}).json()["items"]
    assert sorted(item["player_id"] for item in issued) == ["p1", "p2", "p3"]


def test_a_request_that_is_repeated_later_gets_its_first_answer_and_no_second_code(api: Api) -> None:
    client = api.client()
    job = job_for("p1") | {"recipients": [{"player_id": "p1"}, {"player_id": "p2", "timezone": "Mars/Olympus"}]}
    first = client.post("/v1/issue", json=job)
    api.work()
    before = client.get("/v1/codes").json()

    api.clock.advance(HOUR)
    again = client.post("/v1/issue", json=job)
    api.work()

    assert again.status_code == 202
    assert again.json() == first.json()
    assert [item["code"] for item in client.get("/v1/codes").json()["items"]] == [before["items"][0]["code"]]
    assert api.rung(jobs.ISSUE) == 1


def test_another_body_under_a_known_request_id_is_a_conflict_and_issues_nothing(api: Api) -> None:
    client = api.client("issue")
    client.post("/v1/issue", json=job_for("p1"))

    answer = client.post("/v1/issue", json=job_for("p2"))

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "request_id_reused"
    assert client.get("/v1/requests/r-1").json()["accepted"] == 1


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"request_id": None, "campaign": None}, {"/request_id", "/campaign"}),
        ({"request_id": ""}, {"/request_id"}),
        ({"recipients": []}, {"/recipients"}),
        ({"recipients": {"player_id": "p1"}}, {"/recipients"}),
        ({"version": 2}, {"/version"}),
        ({"requested_at": "yesterday"}, {"/requested_at"}),
        ({"priority": "high", "tone/of~voice": "kind"}, {"/priority", "/tone~1of~0voice"}),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_with_a_pointer_to_each_fault(
    api: Api, change: dict[str, Any], pointers: set[str]
) -> None:
    answer = api.client("issue").post("/v1/issue", json=job_for("p1") | change)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "invalid_job"
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert all(error["detail"] for error in answer.json()["errors"])


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'"welcome"'])
def test_a_body_that_is_no_job_at_all_is_refused_as_a_whole(api: Api, body: bytes) -> None:
    answer = api.client("issue").post("/v1/issue", content=body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [""]


def test_bad_recipients_are_told_with_index_and_reason_and_the_good_ones_get_their_codes(api: Api) -> None:
    client = api.client()
    job = job_for("p1")
    job["recipients"] += [
        {"player_id": "p2", "timezone": "Mars/Olympus"},
        {"player_id": "p1"},
        {"name": "Ann"},
        "p4",
    ]

    answer = client.post("/v1/issue", json=job)
    api.work()

    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1
    rejected = answer.json()["rejected"]
    assert [(entry["index"], entry["player_id"]) for entry in rejected] == [(1, "p2"), (2, "p1"), (3, None), (4, None)]
    assert rejected[0]["reason"].startswith("invalid_recipient: /timezone: ")
    assert rejected[1]["reason"] == "duplicate_recipient"
    assert rejected[2]["reason"].startswith("invalid_recipient: /player_id: ")
    assert [item["player_id"] for item in client.get("/v1/codes").json()["items"]] == ["p1"]


def test_an_unknown_campaign_is_refused_and_leaves_no_trace_of_the_request(api: Api) -> None:
    client = api.client("issue")

    answer = client.post("/v1/issue", json=job_for("p1", campaign="farewell"))

    assert answer.status_code == 422
    assert answer.json()["reason"] == "unknown_campaign"
    assert "farewell" in answer.json()["detail"]
    assert client.get("/v1/requests/r-1").status_code == 404


def test_a_campaign_that_has_ended_takes_no_jobs(api: Api) -> None:
    api.apply(CAMPAIGN.replace('id = "welcome"', 'id = "welcome"\nends_at = "2026-11-24T11:00:00Z"'))
    api.clock.advance(HOUR)

    answer = api.client("issue").post("/v1/issue", json=job_for("p1"))

    assert answer.status_code == 422
    assert answer.json()["reason"] == "campaign_ended"


def test_ten_thousand_recipients_are_one_call_and_one_more_is_too_many(api: Api) -> None:
    client = api.client("issue")
    players = [f"p{i}" for i in range(10_001)]

    most = client.post("/v1/issue", json=job_for(*players[:-1]))
    too_many = client.post("/v1/issue", json=job_for(*players, request_id="r-2"))

    assert most.json() == {"request_id": "r-1", "accepted": 10_000, "rejected": []}
    assert too_many.status_code == 422
    assert [error["pointer"] for error in too_many.json()["errors"]] == ["/recipients"]
    assert client.get("/v1/requests/r-2").status_code == 404


def test_a_request_is_told_by_its_counts_at_every_step(api: Api) -> None:
    client = api.client()
    codes = api.issue("p1", "p2", "p3")

    client.post("/v1/codes", json={"code": codes["p1"]})
    client.post("/v1/deposits", json=deposit_of("p2", promo_code=codes["p2"]))
    api.work()

    assert client.get("/v1/requests/r-1").json() == {
        "request_id": "r-1",
        "campaign": "welcome",
        "cancelled": False,
        "held": False,
        "accepted": 3,
        "rejected": 0,
        "issued": 3,
        "refused": 0,
        "sent": 0,
        "shown": 1,
        "redeemed": 1,
        "failed": 0,
        "unknown": 0,
        "skipped": 0,
        "planned": 3,
        "due": 3,
        "channels": {"popup": {"planned": 3}},
    }


def test_an_unknown_request_is_not_found(api: Api) -> None:
    answer = api.client("issue").get("/v1/requests/r-404")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "unknown_request"
