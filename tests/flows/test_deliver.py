"""Deliver: each due delivery is sent once, by one sender; what became of it is recorded, whatever that is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from promocast import gate
from promocast.channels.outbox import Outbox
from promocast.errors import Withheld
from promocast.flows import show
from promocast.flows.deliver import deliver
from promocast.flows.desk import Desk
from promocast.flows.outcomes import Policy
from promocast.jobs import ActionPayload, ClientAction
from promocast.ledger import codes, events, figures, players
from promocast.ledger.codes import Code
from promocast.ledger.players import Player
from promocast.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Deferred,
    Failed,
    Halted,
    Instant,
    Message,
    Outcome,
    Rejected,
    Sent,
)
from tests.conftest import NOW
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import POLICIES, POLICY, attempted, delivery, desk_of, planned, revoke, running, running_loop

FROM_SENT = CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "7d"\nvalid_from = "sent"')


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def popup_desk(
    bench: Bench, loop: asyncio.AbstractEventLoop, answer: Callable[[Message], Outcome] | None = None, **policy: Any
) -> tuple[Desk, Outbox]:
    """A desk whose popups go to an outbox that answers as told, and the outbox."""
    outbox = Outbox(answer)
    policies = {**POLICIES, "popup": replace(POLICY, **policy)}
    return desk_of(bench, loop, {"popup": outbox}, policies=policies), outbox


def shown_by(bench: Bench, code: Code) -> None:
    action = ClientAction(
        eid=f"e-{code.id}",
        user_ext_id=code.player_id,
        event_type="client_action",
        payload=ActionPayload(client_action="CODE_IS_SHOWN", code=code.code),
    )
    show.client_action(bench.ledger, action, bench.clock(), versions=bench.versions, ring=bench.ring, grace=0)


def put_player(bench: Bench, player_id: str, **known: Any) -> None:
    nothing: dict[str, Any] = {"locale": None, "timezone": None, "consents": {}, "blocks": []}
    with bench.ledger.begin() as conn:
        players.put(conn, Player(player_id, **nothing | known), bench.clock())


def expires_at(bench: Bench, code: Code) -> Instant | None:
    with bench.ledger.read() as conn:
        return codes.by_ids(conn, [code.id])[code.id].expires_at


# What an outcome makes of a delivery


def test_each_outcome_makes_of_a_delivery_what_it_says(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    expected: dict[str, tuple[Outcome, tuple[Any, ...]]] = {
        "sent": (Sent("ref-1"), ("sent", None, "ref-1", None, 1)),
        "deferred": (Deferred(NOW + MINUTE, "429"), ("planned", "429", None, MINUTE, 0)),
        "failed": (Failed("503", maybe_sent=False), ("planned", "503", None, 5 * SECOND, 1)),
        "rejected": (Rejected("410", address_dead=True), ("rejected", "410", None, None, 1)),
        "halted": (Halted("401"), ("planned", "401", None, 30 * SECOND, 0)),
    }
    issued = {code.id: code.player_id or "" for code in bench.issue(*expected)}
    desk, _ = popup_desk(bench, loop, lambda message: expected[message.player_id][0])

    deliver(desk, "popup", planned(bench, "popup"))

    rows = [delivery(bench, delivery_id) for delivery_id in planned(bench, "popup")]
    assert {
        issued[row.code_id]: (row.state, row.reason, row.ref, row.due_at and row.due_at - NOW, row.attempts)
        for row in rows
    } == {player_id: left for player_id, (_, left) in expected.items()}


def test_a_sent_delivery_is_an_event_and_an_unsent_one_is_none(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2")
    desk, _ = popup_desk(
        bench, loop, lambda message: Sent() if message.player_id == "p1" else Rejected("410", address_dead=True)
    )

    deliver(desk, "popup", planned(bench, "popup"))

    with bench.ledger.read() as conn:
        found, _ = events.feed(conn, events.START, 100)
    sent = [(event["player_id"], event["data"]["channel"]) for event in found if event["type"] == "delivery.sent"]
    assert sent == [("p1", "popup")]


def test_a_time_to_try_again_never_passes_the_codes_end(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")
    desk, _ = popup_desk(bench, loop, lambda _: Deferred(NOW + 30 * DAY, "429"))
    [popup] = planned(bench, "popup")

    deliver(desk, "popup", [popup])

    assert delivery(bench, popup).due_at == code.expires_at


def test_failures_are_repeated_at_growing_intervals_until_the_attempts_are_used_up(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1")
    desk, outbox = popup_desk(bench, loop, lambda _: Failed("503", maybe_sent=False), max_attempts=3)
    [popup] = planned(bench, "popup")

    waits = []
    while (due_at := delivery(bench, popup).due_at) is not None:
        waits.append(due_at - bench.clock())
        bench.clock.now = due_at
        deliver(desk, "popup", [popup])

    assert waits == [0, 5 * SECOND, 30 * SECOND]
    assert delivery(bench, popup).state == "exhausted"
    assert attempted(bench, popup) == [(1, "failed", "503"), (2, "failed", "503"), (3, "failed", "503")]
    assert len(outbox.sent) == 3


def test_what_costs_no_attempt_exhausts_nothing(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1")
    answers: list[Outcome] = [Deferred(NOW, "429"), Halted("401"), Deferred(NOW + MINUTE, "429"), Sent()]
    desk, _ = popup_desk(bench, loop, lambda _: answers.pop(0), max_attempts=1)
    [popup] = planned(bench, "popup")

    while answers:
        deliver(desk, "popup", [popup])
        bench.clock.advance(MINUTE)

    assert (delivery(bench, popup).state, delivery(bench, popup).attempts) == ("sent", 1)


@pytest.mark.parametrize(
    ("unknown", "waits"),
    [
        ("resend", [5 * SECOND, 30 * SECOND, 15 * MINUTE]),
        ("once", [5 * SECOND, 15 * MINUTE]),
        ("wait", [15 * MINUTE]),
    ],
)
def test_what_may_have_been_sent_is_repeated_as_the_policy_says_and_then_waited_for(
    bench: Bench, loop: asyncio.AbstractEventLoop, unknown: str, waits: list[int]
) -> None:
    bench.issue("p1")
    desk, outbox = popup_desk(bench, loop, lambda _: Failed("timeout", maybe_sent=True), unknown=unknown)
    [popup] = planned(bench, "popup")

    for wait in waits:
        deliver(desk, "popup", [popup])
        row = delivery(bench, popup)
        assert (row.state, row.reason, row.due_at) == ("unknown", "timeout", bench.clock() + wait)
        bench.clock.advance(wait)
    deliver(desk, "popup", [popup])

    assert len(outbox.sent) == len(waits), "the last wait is for evidence, not for another attempt"
    assert len({message.key for message in outbox.sent}) == 1, "a provider can tell that it is a repetition"
    assert attempted(bench, popup) == [(number, "unknown", "timeout") for number in range(1, len(waits) + 1)]


def test_an_adapter_that_raises_has_hidden_whether_it_sent(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    def burst(_: Message) -> Outcome:
        raise RuntimeError("somebody else's adapter")

    bench.issue("p1")
    desk, _ = popup_desk(bench, loop, burst)
    [popup] = planned(bench, "popup")

    deliver(desk, "popup", [popup])

    assert (delivery(bench, popup).state, delivery(bench, popup).reason) == ("unknown", "raised RuntimeError")


# What must not be sent


def test_what_must_not_be_sent_is_skipped_with_its_reason(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    reasons = ["revoked", "redeemed", "player_excluded", "opted_out"]
    issued = {code.player_id: code for code in bench.issue(*reasons, "allowed")}
    revoke(bench, issued["revoked"].id)
    bench.deposit(player_id="redeemed", promo_code=issued["redeemed"].code)
    put_player(bench, "player_excluded", blocks=[{"type": "Blocked", "active": True}])
    put_player(bench, "opted_out", consents={"popup": False})
    put_player(bench, "allowed", consents={"email": False}, blocks=[{"type": "Blocked", "active": False}])
    desk, outbox = popup_desk(bench, loop)

    deliver(desk, "popup", planned(bench, "popup"))

    players_ = {code.id: player_id for player_id, code in issued.items()}
    rows = {players_[row.code_id]: row for row in (delivery(bench, i) for i in planned(bench, "popup"))}
    assert {name: (rows[name].state, rows[name].reason) for name in reasons} == {
        reason: ("skipped", reason) for reason in reasons
    }
    assert [message.player_id for message in outbox.sent] == ["allowed"]


@pytest.mark.parametrize(
    ("left", "state", "reason"),
    [(10 * MINUTE, "sent", None), (10 * MINUTE - 1, "skipped", "min_ttl"), (0, "skipped", "expired")],
)
def test_a_code_too_near_its_end_to_be_used_is_not_sent(
    bench: Bench, loop: asyncio.AbstractEventLoop, left: int, state: str, reason: str | None
) -> None:
    bench.issue("p1")
    desk, _ = popup_desk(bench, loop)
    [popup] = planned(bench, "popup")

    bench.clock.advance(7 * DAY - left)
    deliver(desk, "popup", [popup])

    assert (delivery(bench, popup).state, delivery(bench, popup).reason) == (state, reason)


def test_a_reminder_is_skipped_where_the_code_was_shown_meanwhile(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    seen, _unseen = bench.issue("seen", "unseen")
    shown_by(bench, seen)
    outbox = Outbox()
    desk = desk_of(bench, loop, {"sms": outbox})

    bench.clock.advance(HOUR)
    deliver(desk, "sms", planned(bench, "sms"))

    states = {row.code_id: (row.state, row.reason) for row in (delivery(bench, i) for i in planned(bench, "sms"))}
    assert states[seen.id] == ("skipped", "unless code.shown")
    assert [message.player_id for message in outbox.sent] == ["unseen"]


def test_a_channel_or_endpoint_that_is_not_configured_is_skipped_as_such(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    [code] = bench.issue("p1")
    shown_by(bench, code)
    calls = Outbox()
    desk = desk_of(bench, loop, {"call": calls}, targets={"endpoints.bonus-engine": "digest"})

    for channel in ("popup", "call"):
        deliver(desk, channel, planned(bench, channel))

    rows = [delivery(bench, delivery_id) for channel in ("popup", "call") for delivery_id in planned(bench, channel)]
    assert [(row.state, row.reason) for row in rows] == [("skipped", "not_configured")] * 2
    assert calls.sent == []


def test_a_call_to_a_system_passes_what_stops_a_message_to_a_player(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    [code] = bench.issue("p1")
    shown_by(bench, code)
    put_player(bench, "p1", blocks=[{"type": "Excluded", "active": True}])
    revoke(bench, code.id)
    calls = Outbox()

    deliver(desk_of(bench, loop, {"call": calls}), "call", planned(bench, "call"))

    assert [message.address for message in calls.sent] == ["crm"]


def test_what_may_have_been_sent_stays_unknown_when_it_must_not_be_repeated(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    [code] = bench.issue("p1")
    desk, outbox = popup_desk(bench, loop, lambda _: Failed("timeout", maybe_sent=True))
    [popup] = planned(bench, "popup")
    deliver(desk, "popup", [popup])
    revoke(bench, code.id)

    bench.clock.advance(MINUTE)
    deliver(desk, "popup", [popup])

    row = delivery(bench, popup)
    assert (row.state, row.reason, row.due_at, row.attempts) == ("unknown", "revoked", None, 1)
    assert len(outbox.sent) == 1


# Many at once


@dataclass
class Room:
    """Nobody leaves before `slots` are in. At each entry it looks how many the ledger has under way."""

    bench: Bench
    slots: int
    under_way: list[int] = field(default_factory=list)
    _full: asyncio.Barrier = field(init=False)

    def __post_init__(self) -> None:
        self._full = asyncio.Barrier(self.slots)

    async def send(self, message: Message) -> Outcome:
        with self.bench.ledger.read() as conn:
            self.under_way.append(figures.counts(conn)["popup"]["sending"])
        async with asyncio.timeout(10):
            await self._full.wait()
        return Sent()

    async def close(self) -> None:
        return None


def test_as_many_are_in_flight_as_there_are_slots_and_never_more(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue(*(f"p{i}" for i in range(12)))
    room = Room(bench, slots=4)
    desk = desk_of(bench, loop, {"popup": room}, policies={"popup": replace(POLICY, slots=4)})

    deliver(desk, "popup", planned(bench, "popup"))

    assert {delivery(bench, delivery_id).state for delivery_id in planned(bench, "popup")} == {"sent"}
    assert len(room.under_way) == 12
    assert max(room.under_way) == 4


def test_the_same_ids_delivered_by_several_at_once_are_sent_once_each(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue(*(f"p{i}" for i in range(40)))
    desk, outbox = popup_desk(bench, loop)
    ids = planned(bench, "popup")
    gate = threading.Barrier(4)

    def send(turn: int) -> None:
        gate.wait()
        deliver(desk, "popup", ids[turn:] + ids[:turn])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, (0, 10, 20, 30)))

    assert sorted(message.player_id for message in outbox.sent) == sorted(f"p{i}" for i in range(40))
    assert {delivery(bench, delivery_id).state for delivery_id in ids} == {"sent"}


def test_what_is_not_due_is_not_sent(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1")
    outbox = Outbox()

    deliver(desk_of(bench, loop, {"sms": outbox}), "sms", planned(bench, "sms"))

    assert outbox.sent == []
    assert delivery(bench, planned(bench, "sms")[0]).state == "planned"


# Stopping


@dataclass
class Stopper:
    """Stops the desk with the first message. The others land when the desk is stopping, or hang for ever."""

    stopping: threading.Event
    hang: bool = False
    sent: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> Outcome:
        self.sent.append(message)
        if len(self.sent) == 1:
            self.stopping.set()
        elif self.hang:
            await asyncio.get_running_loop().create_future()
        return Sent()

    async def close(self) -> None:
        return None


def stopping_desk(bench: Bench, loop: asyncio.AbstractEventLoop, policy: Policy, **how: Any) -> tuple[Desk, Stopper]:
    stopping = threading.Event()
    stopper = Stopper(stopping, **how)
    desk = desk_of(
        bench,
        loop,
        {"popup": stopper},
        policies={"popup": policy},
        clock=running(bench.clock()),
        stopping=stopping,
        stop_grace=100,
    )
    return desk, stopper


def test_what_is_in_flight_at_a_stop_still_lands(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2", "p3")
    desk, _ = stopping_desk(bench, loop, replace(POLICY, slots=3))

    deliver(desk, "popup", planned(bench, "popup"))

    assert [delivery(bench, delivery_id).state for delivery_id in planned(bench, "popup")] == ["sent"] * 3


def test_what_hangs_past_the_grace_of_a_stop_becomes_unknown(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2", "p3")
    desk, stopper = stopping_desk(bench, loop, replace(POLICY, slots=3), hang=True)

    deliver(desk, "popup", planned(bench, "popup"))

    rows = [delivery(bench, delivery_id) for delivery_id in planned(bench, "popup")]
    assert sorted((row.state, row.reason) for row in rows if row.state != "sent") == [("unknown", "stopped")] * 2
    assert len(stopper.sent) == 3


def test_what_is_given_back_at_a_stop_writes_nothing_afterwards(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    """It is cancelled in another thread, which may be just about to write its first byte."""
    stopping, given_back, told = threading.Event(), threading.Event(), Future[str]()

    class Slow:
        asks_gate = True

        async def send(self, _: Message) -> Outcome:
            stopping.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                await asyncio.to_thread(given_back.wait, 10)
                try:
                    await gate.about_to_write()
                    told.set_result("written")
                except Withheld as exc:
                    told.set_result(exc.reason)
            return Sent()

        async def close(self) -> None:
            return None

    bench.issue("p1")
    clock = running(bench.clock())
    desk = desk_of(bench, loop, {"popup": Slow()}, clock=clock, stopping=stopping, stop_grace=50)

    deliver(desk, "popup", planned(bench, "popup"))
    given_back.set()

    [delivery_id] = planned(bench, "popup")
    assert (delivery(bench, delivery_id).state, delivery(bench, delivery_id).attempts) == ("planned", 0)
    assert told.result(10) == "stopped"


# The message


def test_a_message_says_what_the_campaign_says_with_the_players_words(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    [code] = bench.issue("p1")
    outbox = Outbox()
    desk = desk_of(bench, loop, dict.fromkeys(("popup", "email", "sms"), outbox))
    bench.clock.advance(HOUR)

    for channel in ("popup", "email", "sms"):
        deliver(desk, channel, planned(bench, channel))

    popup, email, sms = outbox.sent
    body = f"Your code: {code.code}"
    assert popup.content == {"title": "Hi Ann", "body": body}
    assert email.content == {"subject": "Hi Ann", "text": body}, "no template of its own: the popup's words"
    assert sms.content == {"text": f"Hi Ann\n{body}"}
    assert [message.address for message in outbox.sent] == ["p1", "p1@example.com", "+35699123456"]


def test_a_popup_names_the_action_that_its_showing_is_and_the_codes_end(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    [code] = bench.issue("p1")
    desk, outbox = popup_desk(bench, loop)
    [popup] = planned(bench, "popup")

    deliver(desk, "popup", [popup])

    [message] = outbox.sent
    assert message.key == f"d-{desk.returns.ledger_id}-{popup}"
    assert (message.channel, message.campaign, message.player_id, message.code) == ("popup", "welcome", "p1", code.code)
    assert (message.when_shown, message.expires_at) == ("CODE_IS_SHOWN", code.expires_at)


def test_the_key_of_a_delivery_is_the_same_on_every_attempt_and_no_others(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.issue("p1", "p2")
    desk, outbox = popup_desk(bench, loop, lambda _: Failed("503", maybe_sent=False))

    for _ in range(2):
        deliver(desk, "popup", planned(bench, "popup"))
        bench.clock.advance(MINUTE)

    keys = {player_id: {m.key for m in outbox.sent if m.player_id == player_id} for player_id in ("p1", "p2")}
    assert len(outbox.sent) == 4
    assert [len(found) for found in keys.values()] == [1, 1]
    assert keys["p1"] != keys["p2"]


def test_a_call_posts_the_bytes_that_the_campaign_wrote(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")
    shown_by(bench, code)
    calls = Outbox()

    deliver(desk_of(bench, loop, {"call": calls}), "call", planned(bench, "call"))

    [message] = calls.sent
    assert message.address == "crm"
    assert message.content == {"body": f'{{ "code" : "{code.code}" }}'}


def test_a_call_without_a_body_of_its_own_tells_the_whole_event(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    [code] = bench.issue("p1")
    bench.deposit(promo_code=code.code, payment_method="VISA")
    calls = Outbox()
    desk = desk_of(bench, loop, {"call": calls})
    [call] = planned(bench, "call")
    sequence = delivery(bench, call).event_id

    deliver(desk, "call", [call])

    [message] = calls.sent
    assert message.address == "bonus-engine"
    assert orjson.loads(message.content["body"]) == {
        "type": "code.redeemed",
        "timestamp": "2026-11-24T10:00:00Z",
        "data": {
            "delivery_id": message.key,
            "code": code.code,
            "campaign": "welcome",
            "player_id": "p1",
            "sequence": sequence,
            "deposit_id": "tx-1",
            "amount": "50.00",
            "currency": "EUR",
            "payment_method": "VISA",
            "occurred_at": "2026-11-24T10:00:00Z",
            "deposit_index": None,
            "quoted": True,
            "reward": None,
        },
    }


# Where a code's life begins when it is sent


def test_the_first_message_to_the_player_sets_the_codes_end_where_its_life_begins_then(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.apply(FROM_SENT)
    [code] = bench.issue("p1")
    shown_by(bench, code)
    answers: dict[str, Outcome] = {"email": Rejected("550", address_dead=True)}
    outbox = Outbox(lambda message: answers.get(message.channel, Sent()))
    desk = desk_of(bench, loop, dict.fromkeys(("call", "email", "popup"), outbox))

    ends = [expires_at(bench, code)]
    for channel in ("call", "email", "popup"):
        bench.clock.advance(HOUR)
        deliver(desk, channel, planned(bench, channel))
        ends.append(expires_at(bench, code))

    assert ends == [None, None, None, NOW + 3 * HOUR + 7 * DAY], "a call is no message, nor is one that was rejected"


def test_a_later_message_does_not_move_the_codes_end(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.apply(FROM_SENT)
    [code] = bench.issue("p1")
    desk = desk_of(bench, loop)
    deliver(desk, "popup", planned(bench, "popup"))

    bench.clock.advance(DAY)
    deliver(desk, "email", planned(bench, "email"))

    assert delivery(bench, planned(bench, "email")[0]).state == "sent"
    assert expires_at(bench, code) == NOW + 7 * DAY
