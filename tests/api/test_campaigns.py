"""Campaigns over HTTP: put in force without a restart, read back, held; a bad one is refused with its places."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from promocast.model import HOUR
from tests.api.conftest import CAMPAIGN, Api, deposit_of, job_for

DOCUMENT = tomllib.loads(CAMPAIGN)


def document(**changes: Any) -> dict[str, Any]:
    return {**DOCUMENT, "id": "spring", **changes}


def put(api: Api, values: dict[str, Any], **files: str) -> Any:
    body = {"document": values, "files": {name.replace("__", "/"): text for name, text in files.items()}}
    return api.client("admin").put("/v1/campaigns/spring", json=body)


def test_a_campaign_is_in_force_as_soon_as_it_is_put(api: Api) -> None:
    answer = put(api, document())
    again = put(api, document())

    assert answer.status_code == 200, answer.text
    assert (answer.json()["version"], answer.json()["changed"], again.json()["version"]) == (1, [], 1)
    client = api.client()
    assert client.post("/v1/issue", json=job_for("p1") | {"campaign": "spring"}).status_code == 202
    assert [each["id"] for each in client.get("/v1/campaigns").json()["items"]] == ["spring", "welcome"]


def test_another_version_says_what_it_changes(api: Api) -> None:
    put(api, document())

    answer = put(api, document(name="Spring", code=DOCUMENT["code"] | {"valid_for": "2h"}))

    assert answer.json()["version"] == 2
    assert {change["pointer"]: change["after"] for change in answer.json()["changed"]} == {
        "/name": "Spring",
        "/code/valid_for": 2 * HOUR,
    }


def test_what_is_read_can_be_put_again_and_is_the_same(api: Api) -> None:
    put(api, document(ends_at="2027-01-01T00:00:00Z"))
    read = api.client("read").get("/v1/campaigns/spring").json()

    answer = put(api, read["document"])

    assert (read["version"], answer.json()["version"]) == (1, 1)
    assert read["document"]["ends_at"] == "2027-01-01T00:00:00Z"
    assert (read["paused"], read["files"]) == (False, {})


def test_template_files_come_along(api: Api) -> None:
    templates = {**DOCUMENT["templates"], "email": {"subject": "Hi", "text": "spring/email.txt"}}

    good = put(api, document(templates=templates), spring__email_txt="")
    missing = put(api, document(templates=templates))

    assert good.status_code == 422, "the name in `files` is not the one in the document"
    assert [error["pointer"] for error in missing.json()["errors"]] == ["/document/templates/email/text"]
    body = {"document": document(templates=templates), "files": {"spring/email.txt": "Code {{ label.promo_code }}"}}
    answer = api.client("admin").put("/v1/campaigns/spring", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["document"]["templates"]["email"]["text"] == "Code {{ label.promo_code }}"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"id": "other"}, "/document/id"),
        ({"starts": "2027-01-01T00:00:00Z"}, "/document/starts"),
        ({"label_tags": {"promo_code": {"type": "random", "length": 0}}}, "/document/label_tags/promo_code/length"),
        ({"label_tags": {"promo_code": {"type": "random", "alphabet": "AA"}}}, "/document/label_tags/promo_code"),
    ],
)
def test_a_bad_campaign_is_refused_with_its_places_and_the_old_one_stays(
    api: Api, change: dict[str, Any], pointer: str
) -> None:
    put(api, document())

    answer = put(api, document(**change))

    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {pointer}
    assert api.client("read").get("/v1/campaigns/spring").json()["version"] == 1


def test_what_is_not_configured_is_a_warning(api: Api) -> None:
    answer = put(api, document(journey=[{"on": "code.issued", "call": "nowhere"}]))

    assert answer.status_code == 200
    assert [warning["pointer"] for warning in answer.json()["warnings"]] == ["/document/journey/0/call"]


def test_a_paused_campaign_says_so_and_issues_later(api: Api) -> None:
    client = api.client()

    paused = client.post("/v1/campaigns/welcome/pause").json()
    assert (paused["paused"], paused["paused_at"]) == (True, "2026-11-24T10:00:00Z")
    assert api.issue("p1") == {}
    assert client.post("/v1/campaigns/welcome/resume").json()["paused"] is False
    api.work()

    assert len(client.get("/v1/codes", params={"player_id": "p1"}).json()["items"]) == 1


def test_what_of_the_budget_is_used_is_told(api: Api) -> None:
    redemption = {"budget": {"redemptions": 10, "amount": {"EUR": "100.00"}}}
    values = {**DOCUMENT, "redemption": redemption, "reward": {"percent": "50"}}
    api.client("admin").put("/v1/campaigns/welcome", json={"document": values})
    code = api.issue("p1")["p1"]

    api.client("deposits").post("/v1/deposits", json=deposit_of(promo_code=code, amount="30.00"))
    api.work()

    used = api.client("read").get("/v1/campaigns/welcome").json()["budget_used"]
    assert used == {"redemptions": 1, "amount": {"EUR": "15.00"}}


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/pause"), ("POST", "/resume")])
def test_what_was_never_applied_is_not_there(api: Api, method: str, path: str) -> None:
    answer = api.client().request(method, f"/v1/campaigns/autumn{path}")

    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_campaign")


# Requests


def test_a_cancelled_request_is_told_as_such(api: Api) -> None:
    client = api.client("issue")
    client.post("/v1/issue", json=job_for("p1", request_id="jobs/7"))

    answer = client.post("/v1/requests/jobs/7/cancel")
    api.work()

    assert answer.status_code == 200
    told = client.get("/v1/requests/jobs/7").json()
    assert (told["cancelled"], told["held"], told["issued"], told["refused"]) == (True, False, 0, 1)
    assert client.post("/v1/requests/jobs/8/cancel").status_code == 404


def test_a_request_that_waits_for_nothing_cannot_be_confirmed(api: Api) -> None:
    client = api.client("issue")
    client.post("/v1/issue", json=job_for("p1"))

    answer = client.post("/v1/requests/r-1/confirm")

    assert (answer.status_code, answer.json()["reason"]) == (422, "not_held")
