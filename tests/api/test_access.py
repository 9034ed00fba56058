"""Access: no key no answer, the wrong scope a refusal, and a key out of use is no key."""

from __future__ import annotations

import pytest

from promocast.ledger import keys
from promocast.model import DAY
from tests.api.conftest import Api

# Contract section 2: each call, and the scopes that may make it besides `admin`.
CALLS = {
    ("POST", "/v1/issue"): {"issue"},
    ("GET", "/v1/requests/{request_id}"): {"issue", "read"},
    ("POST", "/v1/requests/{request_id}/recipients"): {"issue"},
    ("POST", "/v1/requests/{request_id}/cancel"): {"issue"},
    ("POST", "/v1/requests/{request_id}/confirm"): {"issue"},
    ("GET", "/v1/campaigns"): {"read"},
    ("GET", "/v1/campaigns/{campaign_id}"): {"read"},
    ("PUT", "/v1/campaigns/{campaign_id}"): {"admin"},
    ("POST", "/v1/campaigns/{campaign_id}/pause"): {"admin"},
    ("POST", "/v1/campaigns/{campaign_id}/resume"): {"admin"},
    ("POST", "/v1/codes"): {"codes"},
    ("POST", "/v1/codes/lookup"): {"read"},
    ("GET", "/v1/codes/{code}"): {"read"},
    ("POST", "/v1/codes/{code}/validate"): {"deposits"},
    ("POST", "/v1/codes/{code}/revoke"): {"admin"},
    ("GET", "/v1/codes"): {"read"},
    ("POST", "/v1/events/client-action"): {"codes"},
    ("GET", "/v1/events"): {"read"},
    ("POST", "/v1/deposits"): {"deposits"},
    ("GET", "/v1/deposits/{deposit_id}"): {"deposits", "read"},
    ("GET", "/v1/deposits"): {"deposits", "read"},
    ("PUT", "/v1/players/{player_id}"): {"admin"},
    ("GET", "/v1/players/{player_id}"): {"read"},
}


def test_without_a_key_a_call_is_refused_by_a_problem_that_says_what_to_give(api: Api) -> None:
    answer = api.stranger().get("/v1/codes")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:promocast:problem:unauthorized",
        "title": "Unauthorized",
        "status": 401,
        "reason": "unauthorized",
        "detail": "Give a key: Authorization: Bearer <key>.",
    }


def test_a_stranger_is_told_only_how_we_are_and_what_could_be_asked(api: Api) -> None:
    stranger = api.stranger()

    answered = {path for method, path in api.routes() if stranger.request(method, path).status_code != 401}

    assert answered == {
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/u/{token}",
        "/v1/callbacks/{channel}",
        "/v1/hooks/{source}",
    }


@pytest.mark.parametrize(("method", "path"), CALLS, ids=[" ".join(call) for call in CALLS])
def test_a_call_is_open_to_its_scopes_and_to_admin_alone(api: Api, method: str, path: str) -> None:
    let_in = {scope for scope in keys.SCOPES if api.client(scope).request(method, path).status_code != 403}

    assert let_in == CALLS[method, path] | {"admin"}


def test_every_call_that_needs_a_key_has_its_scopes_written_above(api: Api) -> None:
    open_to_all = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json")}
    proven_otherwise = {
        ("POST", "/v1/callbacks/{channel}"),
        ("POST", "/v1/hooks/{source}"),
        ("GET", "/u/{token}"),
        ("POST", "/u/{token}"),
    }

    assert api.routes() - open_to_all - proven_otherwise == CALLS.keys()


def test_a_refusal_for_the_wrong_scope_names_the_right_ones(api: Api) -> None:
    answer = api.client("codes").get("/v1/deposits/tx-1")

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "forbidden"
    assert "deposits or read" in answer.json()["detail"]


def test_one_key_may_have_several_scopes(api: Api) -> None:
    client = api.client("codes", "read")

    assert client.get("/v1/codes").status_code == 200
    assert client.post("/v1/codes", json={"code": "NOBODYS"}).status_code == 404
    assert client.post("/v1/issue", json={}).status_code == 403


def test_a_revoked_key_is_refused_from_then_on(api: Api) -> None:
    key_id, key = api.key("read")
    client = api.bearing(key)
    before = client.get("/v1/codes")

    with api.ledger.begin() as conn:
        keys.revoke(conn, key_id, api.clock())

    assert before.status_code == 200
    assert client.get("/v1/codes").status_code == 401


def test_a_key_is_refused_from_the_moment_it_expires(api: Api) -> None:
    _, key = api.key("read", expires_at=api.clock() + DAY)
    client = api.bearing(key)

    api.clock.advance(DAY - 1)
    before = client.get("/v1/codes")
    api.clock.advance(1)
    after = client.get("/v1/codes")

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_a_key_is_taken_as_a_bearer_token_only(api: Api, scheme: str) -> None:
    _, key = api.key("admin")

    answer = api.stranger().get("/v1/codes", headers={"authorization": f"{scheme} {key}".strip()})

    assert answer.status_code == 401


def test_what_is_not_quite_a_key_is_refused_as_an_unknown_one(api: Api) -> None:
    key_id, key = api.key("admin")

    answers = [api.bearing(wrong).get("/v1/codes") for wrong in (key_id, key[:-1], f"{key}A", key.swapcase())]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
