"""Codes over HTTP: what a CRM saves, and what support looks up."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from promocast.ledger import schema
from promocast.model import DAY
from tests.api.conftest import CAMPAIGN, PARTNER, Api, deposit_of

_FULL_WIDTH = {i: i + 0xFEE0 for i in range(0x21, 0x7F)}


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "text/json; charset=utf-8", None],
)
def test_the_webhook_of_the_crm_marks_our_code_shown_with_its_very_bytes(api: Api, content_type: str | None) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]
    api.clock.advance(5_000)

    answer = client.post(
        "/v1/codes",
        content=b'{ "code" : "%s" }' % code.encode(),
        headers={} if content_type is None else {"content-type": content_type},
    )

    assert answer.status_code == 200
    assert answer.json() == {"code": code, "campaign": "welcome", "player_id": "p1", "status": "issued"}
    assert client.get(f"/v1/codes/{code}").json()["shown_at"] == "2026-11-24T10:00:05Z"


def test_a_code_that_is_saved_again_keeps_the_time_when_it_was_first_shown(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]
    client.post("/v1/codes", json={"code": code})

    api.clock.advance(60_000)
    client.post("/v1/codes", json={"code": code})

    assert client.get(f"/v1/codes/{code}").json()["shown_at"] == "2026-11-24T10:00:00Z"


def test_what_a_crm_saves_calls_no_crm(api: Api) -> None:
    code = api.issue("p1")["p1"]

    api.client().post("/v1/codes", json={"code": code})

    assert api.rung("deliver.call") == 0
    assert [line["what"] for line in api.client().get(f"/v1/codes/{code}").json()["timeline"]] == [
        "issued",
        "shown to the player",
        "popup due",
    ]


def test_keys_that_a_crm_adds_are_let_pass(api: Api) -> None:
    code = api.issue("p1")["p1"]

    answer = api.client("codes").post("/v1/codes", json={"code": code, "user_ext_id": "p1", "brand": "north", "n": 1})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/code"),
        ({"code": ""}, "/code"),
        ({"code": None}, "/code"),
        ({"code": "A" * 257}, "/code"),
        ({"code": "AB12CD", "campaign": ["welcome"]}, "/campaign"),
    ],
)
def test_a_body_that_cannot_be_understood_is_refused_with_a_pointer(
    api: Api, body: dict[str, Any], pointer: str
) -> None:
    answer = api.client("codes").post("/v1/codes", json=body)

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_code_of_dashes_only_is_no_code(api: Api) -> None:
    api.apply(PARTNER)

    answer = api.client("codes").post("/v1/codes", json={"code": " -- "})

    assert answer.status_code == 422
    assert answer.json()["reason"] == "invalid_code"


def test_an_unknown_code_is_not_found_where_no_campaign_allows_external_codes(api: Api) -> None:
    answer = api.client("codes").post("/v1/codes", json={"code": "AB12CD"})

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "unknown_code"


def test_an_unknown_code_is_recorded_for_the_only_campaign_that_allows_external_codes(api: Api) -> None:
    api.apply(PARTNER)
    client = api.client()

    answer = client.post("/v1/codes", json={"code": "ab-12-cd", "user_ext_id": 84213})

    assert answer.status_code == 200
    assert answer.json() == {"code": "ab-12-cd", "campaign": "partner", "player_id": "84213", "status": "issued"}
    told = client.get("/v1/codes/AB12CD").json()
    assert (told["code"], told["request_id"], told["shown_at"]) == ("ab-12-cd", None, "2026-11-24T10:00:00Z")


def test_an_unknown_code_is_refused_where_several_campaigns_could_take_it(api: Api) -> None:
    api.apply(PARTNER)
    api.apply(PARTNER.replace('"partner"', '"affiliate"'))

    answer = api.client("codes").post("/v1/codes", json={"code": "AB12CD"})

    assert answer.status_code == 422
    assert answer.json()["reason"] == "ambiguous_campaign"
    assert "affiliate, partner" in answer.json()["detail"]


def test_of_several_campaigns_the_body_names_one_before_the_key_does(api: Api) -> None:
    api.apply(PARTNER)
    api.apply(PARTNER.replace('"partner"', '"affiliate"'))
    client = api.client("codes", campaign="affiliate")

    by_key = client.post("/v1/codes", json={"code": "AB12CD"})
    by_body = client.post("/v1/codes", json={"code": "EF34GH", "campaign": "partner"})

    assert by_key.json()["campaign"] == "affiliate"
    assert by_body.json()["campaign"] == "partner"


def test_a_campaign_that_takes_only_its_own_codes_takes_no_unknown_one(api: Api) -> None:
    api.apply(PARTNER)

    answer = api.client("codes").post("/v1/codes", json={"code": "AB12CD", "campaign": "welcome"})

    assert answer.status_code == 404
    assert answer.json()["reason"] == "unknown_code"


def test_a_campaign_that_does_not_exist_takes_no_code(api: Api) -> None:
    answer = api.client("codes").post("/v1/codes", json={"code": "AB12CD", "campaign": "farewell"})

    assert answer.status_code == 422
    assert answer.json()["reason"] == "unknown_campaign"


def test_another_players_code_is_a_conflict_that_is_recorded_and_starts_no_clock(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]

    answer = client.post("/v1/codes", json={"code": code, "user_ext_id": "p2"})

    assert answer.status_code == 409
    assert answer.json()["reason"] == "other_player"
    told = client.get(f"/v1/codes/{code}").json()
    assert (told["player_id"], told["shown_at"]) == ("p1", None)
    assert "reported by another player; refused" in [line["what"] for line in told["timeline"]]


def test_a_code_that_is_nobodys_belongs_to_the_first_player_who_reports_it(api: Api) -> None:
    api.apply(PARTNER)
    client = api.client("codes")

    nobodys = client.post("/v1/codes", json={"code": "AB12CD"})
    first = client.post("/v1/codes", json={"code": "AB12CD", "user_ext_id": "p1"})
    second = client.post("/v1/codes", json={"code": "AB12CD", "user_ext_id": "p2"})

    assert nobodys.json()["player_id"] is None
    assert first.json()["player_id"] == "p1"
    assert second.status_code == 409


@pytest.mark.parametrize(
    "spelt",
    [
        pytest.param(lambda code: code, id="as issued"),
        pytest.param(str.lower, id="lower case"),
        pytest.param(lambda code: f"{code[:4]}-{code[4:]}", id="dash"),
        pytest.param(lambda code: f" {code[:2]} {code[2:5]}\u2013{code[5:]} ", id="spaces and an en dash"),
        pytest.param(lambda code: code.translate(_FULL_WIDTH), id="full-width"),
        pytest.param(lambda code: code.lower().translate(_FULL_WIDTH), id="full-width lower case"),
    ],
)
def test_a_code_is_found_however_it_is_spelt(api: Api, spelt: Any) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]

    answers = [
        client.get(f"/v1/codes/{spelt(code)}"),
        client.post("/v1/codes/lookup", json={"code": spelt(code)}),
        client.post("/v1/codes", json={"code": spelt(code)}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.json()["code"] for answer in answers} == {code}


def test_a_code_is_told_with_all_that_became_of_it(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]
    api.clock.advance(60_000)
    client.post("/v1/codes", json={"code": code})
    api.clock.advance(60_000)
    client.post("/v1/deposits", json=deposit_of("p1", "tx-1", promo_code=code))
    api.work()

    told = client.get(f"/v1/codes/{code}").json()

    timeline = told.pop("timeline")
    assert told == {
        "code": code,
        "campaign": "welcome",
        "player_id": "p1",
        "request_id": "r-1",
        "status": "redeemed",
        "issued_at": "2026-11-24T10:00:00Z",
        "sent_at": None,
        "shown_at": "2026-11-24T10:01:00Z",
        "expires_at": "2026-12-01T10:00:00Z",
        "redemptions": [
            {
                "deposit_id": "tx-1",
                "amount": "50.00",
                "currency": "EUR",
                "reward": None,
                "at": "2026-11-24T10:02:00Z",
                "rolled_back_at": None,
            }
        ],
    }
    assert [(line["at"], line["what"]) for line in timeline] == [
        ("2026-11-24T10:00:00Z", "issued"),
        ("2026-11-24T10:00:00Z", "popup due"),
        ("2026-11-24T10:01:00Z", "shown to the player"),
        ("2026-11-24T10:02:00Z", "redeemed by deposit tx-1: 50.00 EUR"),
    ]


def test_looking_a_code_up_says_the_same_as_getting_it(api: Api) -> None:
    client = api.client("read")
    code = api.issue("p1")["p1"]

    looked_up = client.post("/v1/codes/lookup", json={"code": code})

    assert looked_up.json() == client.get(f"/v1/codes/{code}").json()


def test_a_code_that_is_not_recorded_is_not_found(api: Api) -> None:
    client = api.client("read")

    answers = [client.get("/v1/codes/AB12CD"), client.post("/v1/codes/lookup", json={"code": "AB12CD"})]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert {answer.json()["reason"] for answer in answers} == {"unknown_code"}


def test_a_code_is_issued_until_it_expires(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]

    api.clock.advance(7 * DAY - 1)
    before = client.get(f"/v1/codes/{code}").json()["status"]
    api.clock.advance(1)
    after = client.get(f"/v1/codes/{code}").json()["status"]

    assert (before, after) == ("issued", "expired")


def test_a_code_that_was_used_up_in_time_stays_redeemed_after_its_end(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]
    client.post("/v1/deposits", json=deposit_of("p1", promo_code=code))
    api.work()

    api.clock.advance(8 * DAY)

    assert client.get(f"/v1/codes/{code}").json()["status"] == "redeemed"


def test_a_rollback_gives_the_code_back(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]
    for status in ("approved", "rolled_back"):
        client.post("/v1/deposits", json=deposit_of("p1", promo_code=code, status=status))
        api.work()

    told = client.get(f"/v1/codes/{code}").json()

    assert told["status"] == "issued"
    assert [redemption["rolled_back_at"] for redemption in told["redemptions"]] == ["2026-11-24T10:00:00Z"]


def test_revoked_comes_before_every_other_status(api: Api) -> None:
    client = api.client()
    code = api.issue("p1")["p1"]
    client.post("/v1/deposits", json=deposit_of("p1", promo_code=code))
    api.work()
    with api.ledger.begin() as conn:
        conn.execute(update(schema.codes).values(revoked_at=api.clock()))

    api.clock.advance(8 * DAY)

    assert client.get(f"/v1/codes/{code}").json()["status"] == "revoked"


def test_codes_are_listed_page_by_page_each_once(api: Api) -> None:
    client = api.client("read")
    issued = api.issue(*(f"p{i}" for i in range(5)))
    pages: list[list[str]] = []
    after: int | None = 0

    while after is not None:
        page = client.get("/v1/codes", params={"after": after, "limit": 2}).json()
        pages.append([item["code"] for item in page["items"]])
        after = page["next"]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(code for page in pages for code in page) == sorted(issued.values())


def test_a_last_page_that_is_full_says_that_it_is_the_last(api: Api) -> None:
    client = api.client("read")
    api.issue("p1", "p2", "p3", "p4")

    first = client.get("/v1/codes", params={"limit": 2}).json()
    last = client.get("/v1/codes", params={"limit": 2, "after": first["next"]}).json()

    assert [item["player_id"] for page in (first, last) for item in page["items"]] == ["p1", "p2", "p3", "p4"]
    assert last["next"] is None


def test_the_codes_of_one_player_are_listed_page_by_page(api: Api) -> None:
    client = api.client("read")
    issued = [api.issue("p1", "p2", request_id=f"r-{i}")["p1"] for i in range(3)]

    first = client.get("/v1/codes", params={"player_id": "p1", "campaign": "welcome", "limit": 2}).json()
    query = {"player_id": "p1", "campaign": "welcome", "limit": 2, "after": first["next"]}
    last = client.get("/v1/codes", params=query).json()

    assert [item["code"] for item in first["items"]] + [item["code"] for item in last["items"]] == issued
    assert last["next"] is None


def test_codes_are_listed_by_player_campaign_and_request(api: Api) -> None:
    api.apply(CAMPAIGN.replace('"welcome"', '"second"'))
    client = api.client()
    first = api.issue("p1", "p2", request_id="r-1")
    later = api.issue("p1", request_id="r-2")
    client.post("/v1/issue", json={"request_id": "r-3", "campaign": "second", "recipients": [{"player_id": "p1"}]})
    api.work()

    def listed(**filters: str) -> set[str]:
        return {item["code"] for item in client.get("/v1/codes", params=filters).json()["items"]}

    assert listed(request_id="r-1") == set(first.values())
    assert listed(player_id="p1", campaign="welcome") == {first["p1"], later["p1"]}
    assert listed(campaign="second").isdisjoint({*first.values(), *later.values()})
    assert listed(player_id="nobody") == set()


def test_a_listed_code_is_told_as_a_single_one_is_but_for_its_timeline(api: Api) -> None:
    client = api.client("read")
    code = api.issue("p1")["p1"]

    [item] = client.get("/v1/codes").json()["items"]

    single = client.get(f"/v1/codes/{code}").json()
    assert item == {key: value for key, value in single.items() if key != "timeline"}


@pytest.mark.parametrize(("query", "pointer"), [("limit=0", "/query/limit"), ("after=x", "/query/after")])
def test_a_page_that_cannot_be_is_refused_with_a_pointer(api: Api, query: str, pointer: str) -> None:
    answer = api.client("read").get(f"/v1/codes?{query}")

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_code_is_validated_without_being_used(api: Api) -> None:
    code = api.issue("p1")["p1"]
    asked = {"player_id": "p1", "amount": "50.00", "currency": "EUR"}

    answers = [api.client("deposits").post(f"/v1/codes/{code}/validate", json=asked) for _ in range(2)]

    assert [(answer.status_code, answer.json()["result"]) for answer in answers] == [(200, "accepted")] * 2
    short = api.client("deposits").post(f"/v1/codes/{code}/validate", json=asked | {"amount": "15.00"}).json()
    assert (short["reason"], short["near_miss"]["text"]) == ("below_minimum", "5.00 EUR short")
    assert api.client().get(f"/v1/codes/{code}").json()["status"] == "issued"


def test_what_is_no_deposit_cannot_be_validated(api: Api) -> None:
    code = api.issue("p1")["p1"]

    answer = api.client("deposits").post(f"/v1/codes/{code}/validate", json={"player_id": "p1", "amount": "-1"})

    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/amount"]


def test_a_code_is_revoked_by_an_admin_and_stays_so(api: Api) -> None:
    code = api.issue("p1")["p1"]

    for body in ({"reason": "leaked"}, None):
        answer = api.client().post(f"/v1/codes/{code}/revoke", json=body)
        assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    assert api.client().post("/v1/codes/NOSUCH/revoke").status_code == 404

    [line] = [line for line in api.client().get(f"/v1/codes/{code}").json()["timeline"] if "revoked" in line["what"]]
    assert line["what"].startswith("revoked by key ")
    assert line["reason"] == "leaked"
