"""Players over HTTP: what is recorded of them, and that a block holds."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.ledger import deliveries
from promocast.model import HOUR
from tests.api.conftest import Api

ANN = {
    "locale": "en",
    "timezone": "Europe/Malta",
    "consents": [{"channel": "email", "opted_in": True}, {"channel": "sms", "opted_in": False}],
    "blocks": [{"type": "Excluded", "active": True, "until": "2026-12-24T10:00:00Z"}],
}
BLOCKED = {"blocks": [{"type": "Blocked", "active": True}]}


def test_a_player_is_told_as_recorded(api: Api) -> None:
    client = api.client("admin")

    answer = client.put("/v1/players/p1", json=ANN)

    assert answer.status_code == 200
    assert answer.json() == {"in_flight": 0}
    assert client.get("/v1/players/p1").json() == {"player_id": "p1", **ANN}


def test_a_record_takes_the_whole_place_of_the_one_before(api: Api) -> None:
    client = api.client("admin")
    client.put("/v1/players/p1", json=ANN)

    client.put("/v1/players/p1", json={"locale": "de"})

    assert client.get("/v1/players/p1").json() == {
        "player_id": "p1",
        "locale": "de",
        "timezone": None,
        "consents": [],
        "blocks": [],
    }


def test_a_player_without_a_record_is_not_found(api: Api) -> None:
    answer = api.client("read").get("/v1/players/p1")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "unknown_player"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"consents": [{"channel": "fax", "opted_in": True}]}, "/consents/0/channel"),
        ({"consents": [{"channel": "sms"}]}, "/consents/0/opted_in"),
        ({"blocks": [{"type": "Lost", "active": True}]}, "/blocks/0/type"),
        ({"blocks": [{"type": "Excluded", "active": True, "until": "soon"}]}, "/blocks/0/until"),
        ({"name": "Ann"}, "/name"),
    ],
)
def test_a_record_that_cannot_be_understood_is_refused_and_the_old_one_stays(
    api: Api, body: dict[str, Any], pointer: str
) -> None:
    client = api.client("admin")
    client.put("/v1/players/p1", json=ANN)

    answer = client.put("/v1/players/p1", json=body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert client.get("/v1/players/p1").json() == {"player_id": "p1", **ANN}


def test_a_blocked_player_is_given_no_code(api: Api) -> None:
    client = api.client("admin")
    client.put("/v1/players/p1", json=BLOCKED)

    codes = api.issue("p1", "p2")

    assert codes.keys() == {"p2"}
    told = client.get("/v1/requests/r-1").json()
    assert (told["accepted"], told["issued"], told["refused"]) == (2, 1, 1)


def test_a_block_that_has_ended_holds_nobody_back(api: Api) -> None:
    client = api.client("admin")
    client.put("/v1/players/p1", json={"blocks": [BLOCKED["blocks"][0] | {"until": "2026-11-24T11:00:00Z"}]})

    api.clock.advance(HOUR)

    assert api.issue("p1").keys() == {"p1"}


def test_recording_a_player_tells_how_many_sends_to_them_had_begun(api: Api) -> None:
    client = api.client("admin")
    api.issue("p1", "p2")
    planned = client.put("/v1/players/p1", json=BLOCKED)

    with api.ledger.begin() as conn:
        due = [delivery.id for delivery in deliveries.due(conn, api.clock(), 10)]
        lease_until = api.clock() + HOUR
        deliveries.claim(conn, due, now=api.clock(), lease_until=lease_until, resends=0, max_attempts=1)
    begun = client.put("/v1/players/p1", json=BLOCKED)

    assert (planned.json(), begun.json()) == ({"in_flight": 0}, {"in_flight": 1})
