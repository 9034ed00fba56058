"""Hooks over HTTP: proven, recorded once, judged; and nothing that a system sends is lost or redeems a wrong code."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from promocast.campaign.label_tags import fold
from promocast.errors import InputError
from promocast.flows.replay import replay
from promocast.ledger import early
from promocast.ledger import inbox as entries
from promocast.ledger.inbox import Entry
from promocast.model import HOUR, MINUTE
from promocast.settings import HookSettings, Settings
from tests.api.conftest import CAMPAIGN, Api
from tests.conftest import StoppedClock
from tests.hooks.bodies import FASTTRACK, GENERIC, SHOWN, SMARTICO, changed, generic

SOURCES = {
    "crm": {"preset": "smartico", "auth": "basic", "secrets": ["smartico:secret"]},
    "payments": {"preset": "fasttrack", "secrets": ["token"], "id_prefix": "ft-"},
}


@pytest.fixture
def api(settings: Settings, clock: StoppedClock, portal: BlockingPortal) -> Iterator[Api]:
    hooks = {name: HookSettings.model_validate(values) for name, values in SOURCES.items()} | {"psp": generic}
    made = Api(settings.model_copy(update={"hooks": hooks}), clock, portal)
    made.apply(CAMPAIGN)
    yield made
    made.runtime.close()


PROOF = {"crm": f"Basic {b64encode(b'smartico:secret').decode()}", "payments": "Bearer token", "psp": "Bearer s"}


def post(api: Api, source: str, body: bytes | str) -> httpx.Response:
    """As the source does."""
    return api.stranger().post(f"/v1/hooks/{source}", content=body, headers={"authorization": PROOF[source]})


def deposit(api: Api, deposit_id: str) -> dict[str, Any]:
    return dict(api.client().get(f"/v1/deposits/{quote(deposit_id)}").json())


def counts(answer: httpx.Response) -> tuple[int, int, int]:
    assert answer.status_code == 202, answer.text
    told = answer.json()
    return told["accepted"], told["ignored"], told["kept"]


def test_the_reference_pages_flow_through_smartico(api: Api) -> None:
    code = api.issue("84213")["84213"]

    shown = post(api, "crm", changed(SHOWN, payload__code=code))
    again = post(api, "crm", changed(SHOWN, payload__code=code))
    api.clock.advance(MINUTE)
    paid = post(api, "crm", changed(SMARTICO, payload__acc_last_deposit_date="1795514455000"))
    api.work()

    assert [counts(each) for each in (shown, again, paid)] == [(1, 0, 0)] * 3
    story = api.client().get(f"/v1/codes/{code}").json()
    assert story["shown_at"] == "2026-11-24T10:00:00Z"
    assert [each["deposit_id"] for each in story["redemptions"]] == ["tx-991"]
    assert sum("CODE_IS_SHOWN" in json.dumps(each) for each in story["timeline"]) == 1
    assert deposit(api, "tx-991")["verdict"]["result"] == "accepted"

    post(api, "crm", changed(SMARTICO, payload__acc_is_rollback="true", payload__acc_last_deposit_amount="-50.10"))
    api.work()
    assert deposit(api, "tx-991")["verdict"]["result"] == "rolled_back"


def test_a_payments_life_through_fast_track_in_any_order(api: Api) -> None:
    code = api.issue("7865312321")["7865312321"]
    asked, approved, undone = (
        changed(FASTTRACK, status=status, bonus_code=code) for status in ("Requested", "Approved", "Rollback")
    )

    results = []
    for body in (asked, approved, approved, undone, approved):
        assert counts(post(api, "payments", body)) == (1, 0, 0)
        api.work()
        results.append(deposit(api, "ft-23541")["verdict"]["result"])

    assert results == ["pending", "accepted", "accepted", "rolled_back", "rolled_back"]
    assert deposit(api, "ft-23541")["verdict"]["code"] == code
    assert counts(post(api, "payments", changed(FASTTRACK, type="Debit"))) == (0, 1, 0)


def test_a_payment_through_a_field_map(api: Api) -> None:
    code = api.issue("84213")["84213"]

    post(api, "psp", changed(GENERIC, data__payments__0__metadata=[{"voucher": code}]))
    api.work()

    told = deposit(api, "psp-4711")
    assert (told["amount"], told["verdict"]["result"], told["verdict"]["code"]) == ("50.10", "accepted", code)


@pytest.mark.parametrize(("source", "challenge"), [("crm", 'Basic realm="promocast"'), ("payments", "Bearer")])
def test_without_its_proof_nothing_of_a_source_is_taken(api: Api, source: str, challenge: str) -> None:
    answer = api.stranger().post(f"/v1/hooks/{source}", content=FASTTRACK, headers={"authorization": "Bearer x"})
    admin = api.client().post(f"/v1/hooks/{source}", content=FASTTRACK)

    assert (answer.status_code, answer.headers["www-authenticate"], admin.status_code) == (401, challenge, 401)
    assert answer.json()["reason"] == "unauthorized"
    assert api.inbox() == []


def test_what_is_not_configured_is_not_there(api: Api) -> None:
    assert api.client().post("/v1/hooks/smartico", content=SMARTICO).status_code == 404


def test_what_cannot_be_read_is_kept_with_its_bytes_and_answered_so_that_it_is_not_repeated(api: Api) -> None:
    body = FASTTRACK.replace('"Approved"', '"Paid"').encode()

    answer = post(api, "payments", body)

    assert counts(answer) == (0, 0, 1)
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/status"
    [entry] = api.inbox()
    assert (entry.kind, entry.reason, entry.body) == ("hook", "unreadable_hook", body)
    assert entry.detail.startswith("payments: /status: ")


def test_of_a_list_the_good_is_recorded_and_the_whole_is_kept(api: Api) -> None:
    good, bad = json.loads(FASTTRACK), json.loads(FASTTRACK) | {"payment_id": "2", "amount": "much"}

    answer = post(api, "payments", json.dumps([good, bad]))

    assert counts(answer) == (1, 0, 1)
    assert deposit(api, "ft-23541")["amount"] == "32.76"
    assert len(api.inbox()) == 1


def test_another_players_code_is_recorded_and_not_asked_for_again(api: Api) -> None:
    code = api.issue("p1")["p1"]

    assert counts(post(api, "crm", changed(SHOWN, payload__code=code))) == (1, 0, 0)
    assert api.client().get(f"/v1/codes/{code}").json()["shown_at"] is None


def test_an_action_before_its_code_waits_for_it(api: Api) -> None:
    assert counts(post(api, "crm", SHOWN)) == (1, 0, 0)
    assert api.inbox() == []
    with api.ledger.read() as conn:
        assert [one.eid for one in early.due(conn, api.clock() + HOUR, 10)] == [json.loads(SHOWN)["eid"]]


def test_replay_reads_the_bytes_as_the_source_is_configured_now(api: Api) -> None:
    post(api, "payments", changed(FASTTRACK, currency=None))
    [entry] = api.inbox()

    def again(sources: dict[str, HookSettings]) -> None:
        runtime = api.runtime
        replay(
            api.ledger,
            entry,
            api.clock(),
            versions=runtime.versions,
            ring=runtime.bell.ring,
            grace=0,
            sources=sources,
            by="support",
        )

    before = api.runtime.settings.hooks
    for sources, reason in [(before, "unreadable_hook"), ({}, "unknown_source")]:
        with pytest.raises(InputError) as refused:
            again(sources)
        assert refused.value.reason == reason
        assert api.inbox() == [entry]
    again({"payments": before["payments"].model_copy(update={"currency": "EUR"})})

    assert api.inbox() == []
    assert deposit(api, "ft-23541")["currency"] == "EUR"


# Mangled bodies.

MANGLED = 200
DECIDES = CAMPAIGN.replace("[redemption]", '[redemption]\nmatch = ["code"]')
FACTS = {"amount": "amount", "currency": "currency", "vendor_name": "payment_method", "bonus_code": "promo_code"}


def cut(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body))]


def flipped(body: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(body)
    for _ in range(chance.choice([1, 1, 3])):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def retyped(body: bytes, chance: random.Random) -> bytes:
    event = json.loads(body)
    event[chance.choice(list(event))] = chance.choice(
        [None, True, [], {}, ["AB12CD"], 7, 1.5, "", "\0", "\ud800", 1e400]
    )
    return json.dumps(event).encode()


def doubled(body: bytes, chance: random.Random) -> bytes:
    key = chance.choice(list(json.loads(body)))
    return body.replace(b"{", b'{"%s": "AB12CD", ' % key.encode(), 1)


def recoded(body: bytes, chance: random.Random) -> bytes:
    encoding = chance.choice(["utf-16", "utf-32-le", "cp500", "utf-8-sig", "latin-1"])
    return body.replace(b"string", "caf\xe9".encode()).decode().encode(encoding)


def enlarged(body: bytes, chance: random.Random) -> bytes:
    number = chance.choice([b"9" * 400, b"1e999", b"-1e5", b"0", b"32.7600000000001", b"Infinity", b"032.76"])
    return body.replace(b"32.76", number)


def nulled(body: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(body))
    return body[:place] + chance.choice([b"\0", b"\\u0000"]) + body[place:]


def renamed(body: bytes, chance: random.Random) -> bytes:
    key = chance.choice(list(json.loads(body)))
    return body.replace(key.encode(), chance.choice([key.upper(), key[1:], key + "s"]).encode())


MANGLES: list[Callable[[bytes, random.Random], bytes]] = [
    cut, flipped, retyped, doubled, recoded, enlarged, nulled, renamed,
]  # fmt: skip


def test_two_hundred_mangled_bodies_none_lost_and_no_wrong_code(api: Api) -> None:
    chance = random.Random(20261124)
    api.apply(DECIDES)
    players = [f"player-{i:03}" for i in range(MANGLED)]
    codes = api.issue(*players)
    quoted: dict[str, dict[str, Any]] = {}
    kept = recorded = 0
    for i, player in enumerate(players):
        values = {"payment_id": f"pay-{i:03}", "user_id": player, "bonus_code": codes[player]}
        body = MANGLES[i % len(MANGLES)](changed(FASTTRACK, **values), chance)
        before = len(inbox(api))

        answer = post(api, "payments", body)

        accepted, ignored, unreadable = counts(answer)
        assert (accepted + unreadable, ignored) == (1, 0), body
        assert len(inbox(api)) - before == unreadable, body
        if unreadable:
            assert inbox(api)[-1].body == body
            kept += 1
        else:
            event = json.loads(body.decode("utf-8-sig"), parse_float=str)
            quoted[f"ft-{event['payment_id']}"] = event
            recorded += 1
    api.work()

    assert (kept + recorded, min(kept, recorded) > 20) == (MANGLED, True)
    redeemed = 0
    for deposit_id, event in quoted.items():
        told = deposit(api, deposit_id)
        assert "bonus_code" in event, "a quote was lost with its key"
        assert told["player_id"] == str(event["user_id"])
        assert told["status"] == event["status"].lower()
        for theirs, ours in FACTS.items():
            assert str(told[ours] or "") == str(event.get(theirs) or ""), (deposit_id, theirs)
        verdict = told["verdict"]
        if verdict["result"] == "accepted":
            redeemed += 1
            assert fold(verdict["code"]) == fold(str(event["bonus_code"]))
    assert redeemed > 20


def inbox(api: Api) -> list[Entry]:
    """All of it; the fixture's own shows the first hundred."""
    with api.ledger.read() as conn:
        return list(entries.waiting(conn, limit=1_000))
