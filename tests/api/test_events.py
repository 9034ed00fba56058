"""Events: what players do comes in, once each; what happened goes out, in order, with nothing passed over."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from promocast.ledger import early
from tests.api.conftest import Api, deposit_of


def action_of(code: str, eid: str | int = "e-1", **more: Any) -> dict[str, Any]:
    """A client action in the envelope of contract section 2."""
    return {
        "eid": eid,
        "event_date": 1795514400000,
        "event_type": "client_action",
        "payload": {"client_action": "CODE_IS_SHOWN", "code": code},
        **more,
    }


def shown_at(client: httpx.Client, code: str) -> str | None:
    at: str | None = client.get(f"/v1/codes/{code}").json()["shown_at"]
    return at


def test_a_client_action_marks_the_code_shown_and_moves_its_journey_on(api: Api) -> None:
    client = api.client("codes", "read")
    code = api.issue("p1")["p1"]

    answer = client.post("/v1/events/client-action", json=action_of(code, user_ext_id="p1"))

    assert answer.status_code == 202
    assert answer.json() == {"eid": "e-1", "result": "recorded"}
    assert shown_at(client, code) == "2026-11-24T10:00:00Z"
    assert api.rung("deliver.call") == 1


def test_a_client_action_counts_once_however_often_its_eid_is_told(api: Api) -> None:
    client = api.client("codes", "read")
    code = api.issue("p1")["p1"]

    answers = [client.post("/v1/events/client-action", json=action_of(code)) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [202] * 3
    assert [answer.json()["result"] for answer in answers] == ["recorded", "repeated", "repeated"]
    assert api.rung("deliver.call") == 1
    actions = [e for e in client.get("/v1/events").json()["items"] if e["type"] == "client_action"]
    assert len(actions) == 1


@pytest.mark.parametrize(
    "event_date",
    [
        pytest.param(1795514400000, id="epoch ms"),
        pytest.param("1795514400000", id="epoch ms as a string"),
        pytest.param("2026-11-24T10:00:00Z", id="RFC 3339"),
        pytest.param("2026-11-24T11:00:00.250+01:00", id="RFC 3339 with offset and fraction"),
        pytest.param(None, id="none"),
    ],
)
def test_the_date_of_an_event_is_read_as_crms_write_it(api: Api, event_date: Any) -> None:
    code = api.issue("p1")["p1"]

    answer = api.client("codes").post("/v1/events/client-action", json=action_of(code, event_date=event_date))

    assert answer.status_code == 202


def test_numbers_of_a_crm_are_read_as_the_strings_they_stand_for(api: Api) -> None:
    client = api.client("codes")
    code = api.issue("84213")["84213"]

    first = client.post("/v1/events/client-action", json=action_of(code, eid=17, user_ext_id=84213))
    again = client.post("/v1/events/client-action", json=action_of(code, eid="17", user_ext_id="84213"))

    assert first.json() == {"eid": "17", "result": "recorded"}
    assert again.json() == {"eid": "17", "result": "repeated"}


def test_the_code_of_an_action_is_found_however_it_is_spelt(api: Api) -> None:
    client = api.client("codes", "read")
    code = api.issue("p1")["p1"]

    client.post("/v1/events/client-action", json=action_of(f" {code[:4].lower()}-{code[4:]} "))

    assert shown_at(client, code) == "2026-11-24T10:00:00Z"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"eid": None}, "/eid"),
        ({"event_date": "yesterday"}, "/event_date"),
        ({"event_date": "2026-11-24T10:00:00"}, "/event_date"),
        ({"event_type": "login"}, "/event_type"),
        ({"payload": {"client_action": "CODE_IS_SHOWN"}}, "/payload/code"),
        ({"payload": {"code": "AB12CD"}}, "/payload/client_action"),
    ],
)
def test_what_is_no_client_action_is_refused_with_a_pointer(api: Api, change: dict[str, Any], pointer: str) -> None:
    answer = api.client("codes").post("/v1/events/client-action", json=action_of("AB12CD") | change)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_an_action_for_a_code_that_is_not_recorded_waits_for_it(api: Api) -> None:
    action = action_of("AB12CD", user_ext_id="p1")

    answer = api.client("codes").post("/v1/events/client-action", json=action)

    assert answer.status_code == 202
    assert answer.json() == {"eid": "e-1", "result": "waiting"}
    assert api.inbox() == []
    with api.ledger.read() as conn:
        assert early.any_for(conn, ["AB12CD"])


def test_an_action_of_another_player_is_a_conflict_that_shows_nothing(api: Api) -> None:
    client = api.client("codes", "read")
    code = api.issue("p1")["p1"]

    answer = client.post("/v1/events/client-action", json=action_of(code, user_ext_id="p2"))

    assert answer.status_code == 409
    assert answer.json()["reason"] == "other_player"
    assert shown_at(client, code) is None
    assert api.rung("deliver.call") == 0
    [line] = [line for line in client.get(f"/v1/codes/{code}").json()["timeline"] if "client action" in line["what"]]
    assert "another player's" in line["what"]


@pytest.fixture
def busy(api: Api) -> httpx.Client:
    """A client of an installation in which much has happened: three codes at once, then one thing at a time."""
    client = api.client("codes", "read", "deposits")
    codes = api.issue("p1", "p2", "p3")
    client.post("/v1/events/client-action", json=action_of(codes["p1"]))
    client.post("/v1/codes", json={"code": codes["p2"]})
    client.post("/v1/deposits", json=deposit_of("p1", "tx-1", promo_code=codes["p1"]))
    api.work()
    client.post("/v1/deposits", json=deposit_of("p1", "tx-2", promo_code=codes["p1"]))
    api.work()
    api.issue("p4", "p5", request_id="r-2")
    return client


def test_every_event_is_told_in_the_order_in_which_it_happened(busy: httpx.Client) -> None:
    told = [event["type"] for event in busy.get("/v1/events").json()["items"]]

    assert told == [
        *["code.issued"] * 3,
        "client_action",
        "code.shown",
        "code.shown",
        "code.redeemed",
        "deposit.refused",
        *["code.issued"] * 2,
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_reading_page_by_page_sees_every_event_once(busy: httpx.Client, limit: int) -> None:
    everything = busy.get("/v1/events").json()["items"]
    seen: list[dict[str, Any]] = []
    page = busy.get("/v1/events", params={"limit": limit}).json()

    while page["items"]:
        assert len(page["items"]) <= limit
        seen += page["items"]
        page = busy.get("/v1/events", params={"after": page["next"], "limit": limit}).json()

    assert seen == everything
    assert len({event["cursor"] for event in seen}) == len(seen) == 10


def test_a_reader_who_has_read_all_goes_on_from_there(api: Api, busy: httpx.Client) -> None:
    end = busy.get("/v1/events").json()["next"]
    nothing_yet = busy.get("/v1/events", params={"after": end}).json()

    code = api.issue("p6", request_id="r-3")["p6"]

    assert nothing_yet == {"items": [], "next": end}
    [event] = busy.get("/v1/events", params={"after": end}).json()["items"]
    assert (event["type"], event["code"], event["player_id"]) == ("code.issued", code, "p6")


def test_an_event_names_its_code_its_campaign_and_its_facts(busy: httpx.Client) -> None:
    [redeemed] = [e for e in busy.get("/v1/events").json()["items"] if e["type"] == "code.redeemed"]

    assert (redeemed["at"], redeemed["campaign"]) == ("2026-11-24T10:00:00Z", "welcome")
    assert busy.get(f"/v1/codes/{redeemed['code']}").json()["player_id"] == redeemed["player_id"] == "p1"
    assert redeemed["data"]["deposit_id"] == "tx-1"
    assert (redeemed["data"]["amount"], redeemed["data"]["currency"]) == ("50.00", "EUR")


@pytest.mark.parametrize("after", ["yesterday", "1.2", "1.2.x", "-1.0.0"])
def test_what_is_no_cursor_is_refused(api: Api, after: str) -> None:
    answer = api.client("read").get("/v1/events", params={"after": after})

    assert answer.status_code == 422
    assert answer.json()["reason"] == "invalid_cursor"
    assert after in answer.json()["detail"]
