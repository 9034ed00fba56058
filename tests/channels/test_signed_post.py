"""Popup and call: one signed POST, and what its receiver's answers mean."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from promocast.channels.http import Answer
from promocast.channels.signed_post import read
from promocast.model import Deferred
from promocast.standins.base import Reply
from tests.channels.answers import load, word
from tests.channels.rig_popup import PopupRig
from tests.conftest import NOW, StoppedClock

pytestmark = pytest.mark.anyio

ANSWERS = load("signed_post")


@pytest.mark.parametrize("row", ANSWERS, ids=[f"{row['status']} {row.get('headers', '')}" for row in ANSWERS])
def test_an_answer_means_what_the_table_says(row: dict[str, Any]) -> None:
    answer = Answer(row["status"], row.get("headers", {}), row["body"].encode())

    assert word(read(answer, lambda: NOW)) == row["outcome"], row["source"]


async def test_a_site_that_asks_to_wait_holds_all_popups(clock: StoppedClock) -> None:
    async with PopupRig(clock) as rig:
        rig.site.script = lambda _: Reply(429, headers={"retry-after": "30"})

        outcome = await rig.channel.send(rig.message())

    assert outcome == Deferred(clock() + 30_000, "http 429", account=True)


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
