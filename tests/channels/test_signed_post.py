"""Popup and call: one signed POST, and what its receiver's answers mean."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from promocast.channels.http import Answer, Http
from promocast.channels.signed_post import Call, read
from promocast.model import Deferred, Message, system_clock
from promocast.settings import CallSettings, SignedPost
from promocast.standins.base import Reply
from promocast.standins.endpoint import Endpoint
from tests.channels.answers import load, word
from tests.channels.rig_popup import PopupRig
from tests.conftest import NOW, StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("signed_post")
SECRET = "whsec_" + "AAAA" * 8


@pytest.mark.parametrize("row", ANSWERS, ids=[f"{row['status']} {row.get('headers', '')}" for row in ANSWERS])
def test_an_answer_means_what_the_table_says(row: dict[str, Any]) -> None:
    answer = Answer(row["status"], row.get("headers", {}), row["body"].encode())

    outcome = read(answer, lambda: NOW, redirected=row.get("redirected", 0))

    assert word(outcome) == row["outcome"], row["source"]


async def test_a_site_that_asks_to_wait_holds_all_popups(clock: StoppedClock) -> None:
    async with PopupRig(clock) as rig:
        rig.site.script = lambda _: Reply(429, headers={"retry-after": "30"})

        outcome = await rig.channel.send(rig.message())

    assert outcome == Deferred(clock() + 30_000, "http 429", account=True)


async def test_a_few_redirects_in_a_row_halt_and_anything_else_between_them_does_not(clock: StoppedClock) -> None:
    async with PopupRig(clock) as rig:
        statuses = iter([302, 302, 500, 302, 302, 302, 302, 204, 302])
        rig.site.script = lambda _: Reply(next(statuses))

        outcomes = [word(await rig.channel.send(rig.message())) for _ in range(9)]

    assert outcomes == ["failed"] * 5 + ["halted", "halted", "sent", "failed"]


async def test_redirects_of_one_endpoint_do_not_count_for_another(clock: StoppedClock) -> None:
    async with Endpoint(SECRET, script=lambda _: Reply(302)) as moved, Endpoint(SECRET) as fine:
        secrets = (SecretStr(SECRET),)
        endpoints = {
            "moved": SignedPost(url=moved.url, secrets=secrets),
            "fine": SignedPost(url=fine.url, secrets=secrets),
        }
        http = Http()
        calls = Call(CallSettings(), endpoints, http, system_clock)

        outcomes = [word(await calls.send(call_to(name))) for name in ("moved", "fine") * 3]
        await http.close()

    assert outcomes == ["failed", "sent", "failed", "sent", "halted", "sent"]


def call_to(endpoint: str) -> Message:
    return Message(key="d-1", channel="call", campaign="welcome", address=endpoint, content={"body": "{}"})


async def test_a_redirect_is_not_followed(clock: StoppedClock) -> None:
    async with PopupRig(clock) as rig:
        rig.site.script = lambda request: Reply(302, headers={"location": "/elsewhere"})

        await rig.channel.send(rig.message())

        assert [request.path for request in rig.site.requests] == ["/popups"]


async def test_a_popup_has_the_keys_of_the_contract(clock: StoppedClock) -> None:
    async with PopupRig(clock) as rig:
        rig.site.script = lambda _: Reply(204)

        await rig.channel.send(rig.message())

        body = orjson.loads(rig.site.requests[0].body)
    assert list(body) == ["type", "timestamp", "data"]
    assert list(body["data"]) == [
        "delivery_id", "player_id", "campaign", "code", "title", "body", "cta_text", "cta_link", "image_url",
        "when_shown", "expires_at", "locale",
    ]  # fmt: skip
    assert body["data"]["delivery_id"] == rig.message().key
    assert body["data"]["expires_at"] == "2026-11-24T11:00:00Z"
