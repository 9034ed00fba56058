"""Recipients as a stream: in lots, repeatable after a break, of any length, and every bad line told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from promocast import jobs
from tests.api.conftest import Api

URL = "/v1/requests/r-1/recipients"


def lines(*player_ids: str) -> bytes:
    return b"".join(json.dumps({"player_id": player_id}).encode() + b"\n" for player_id in player_ids)


def players(count: int, first: int = 0) -> list[str]:
    return [f"p{n}" for n in range(first, first + count)]


def upload(api: Api, body: bytes | Iterator[bytes], **query: str) -> httpx.Response:
    return api.client("issue").post(URL, content=body, params=query)


def issued(api: Api) -> int:
    api.work()
    return int(api.client("read").get("/v1/requests/r-1").json()["issued"])


def test_a_stream_is_accepted_whole_and_issued_once(api: Api) -> None:
    body = lines(*players(1_201))

    first = upload(api, body, campaign="welcome")
    again = upload(api, body)

    assert first.status_code == 202, first.text
    assert first.json() == {"request_id": "r-1", "accepted": 1_201, "rejected": [], "rejected_count": 0}
    assert again.json() == first.json()
    assert issued(api) == 1_201


def test_however_it_is_cut_on_its_way_it_is_the_same(api: Api) -> None:
    body = b"\n" + lines(*players(700)).replace(b"\n", b"\r\n") + b'{"player_id": "without a line break"}'

    def cut() -> Iterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    assert upload(api, cut(), campaign="welcome").json()["accepted"] == 701
    assert upload(api, body).json()["accepted"] == 701
    assert issued(api) == 701


def test_after_a_break_the_whole_is_sent_again(api: Api) -> None:
    """The first try ends in the middle of its second lot, with the client."""
    everybody = players(1_100)
    upload(api, lines(*everybody[:800]), campaign="welcome")
    assert issued(api) == 800

    assert upload(api, lines(*everybody)).status_code == 202

    assert issued(api) == 1_100


def test_bad_lines_are_told_by_their_places_and_keep_nobody_else_out(api: Api) -> None:
    body = lines("p1") + b"{broken\n\n" + lines("p2") + b'{"player_id": ""}\n' + b"\xff\n" + lines("p3")

    told = upload(api, body, campaign="welcome").json()

    assert (told["accepted"], told["rejected_count"]) == (3, 3)
    assert [each["index"] for each in told["rejected"]] == [1, 3, 4]
    assert issued(api) == 3


def test_places_count_over_all_lots(api: Api) -> None:
    count = jobs.MOST_RECIPIENTS_PER_JOB + 3

    told = upload(api, lines(*players(count)) + b"[]\n", campaign="welcome").json()

    assert [each["index"] for each in told["rejected"]] == [count]


def test_a_new_request_names_its_campaign(api: Api) -> None:
    answer = upload(api, lines("p1"))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/query/campaign"


@pytest.mark.parametrize("body", [b"", b"\n \n"])
def test_an_empty_body_is_refused(api: Api, body: bytes) -> None:
    assert upload(api, body, campaign="welcome").status_code == 422


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(api: Api) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 65_536

    answer = upload(api, endless(), campaign="welcome")

    assert answer.status_code == 422
    assert "line 1 has more than" in answer.json()["errors"][0]["detail"]


def test_another_campaign_than_the_first_parts_is_refused(api: Api) -> None:
    upload(api, lines("p1"), campaign="welcome")

    answer = upload(api, lines("p2"), campaign="winback")

    assert answer.status_code in (409, 422)
    assert issued(api) == 1


def test_a_stream_may_be_longer_than_any_other_body(api: Api) -> None:
    most = api.runtime.settings.api.max_body
    padding: dict[str, Any] = {"attributes": {"note": "x" * 16_000}}
    line = json.dumps({"player_id": "p", **padding}).encode() + b"\n"
    count = most // len(line) + 2

    def long() -> Iterator[bytes]:
        for n in range(count):
            yield json.dumps({"player_id": f"p{n}", **padding}).encode() + b"\n"

    assert upload(api, long(), campaign="welcome").json()["accepted"] == count
