"""Settle: what providers tell later is recorded once, in whatever order it comes, and never takes back an end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select

from promocast.channels.outbox import Outbox
from promocast.flows import settle
from promocast.flows.deliver import deliver
from promocast.flows.settle import Settling
from promocast.flows.sweep import sweep
from promocast.ledger import channels, events, figures, players, schema
from promocast.ledger.codes import Code
from promocast.ledger.players import Player
from promocast.model import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Failed,
    Instant,
    Message,
    Moved,
    Outcome,
    Reachability,
    Rejected,
    Report,
    Sent,
    Told,
)
from promocast.settings import SweepSettings
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import POLICIES, attempted, delivery, desk_of, no_jitter, planned, returns_of, running_loop

FALLBACK = (
    CAMPAIGN
    + """
[[journey]]
on = "delivery.failed"
of = "sms"
send = ["email"]
"""
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


@dataclass
class Office:
    """A bench with an SMS provider that answers as told, and reports what the test has it report."""

    bench: Bench
    loop: asyncio.AbstractEventLoop
    outbox: Outbox

    def send(self, *players_ids: str, request_id: str = "r-1") -> list[Code]:
        """Issue, and send the reminders by SMS that are due an hour later."""
        issued = self.bench.issue(*players_ids, request_id=request_id)
        self.bench.clock.advance(HOUR)
        self.deliver("sms")
        return issued

    def deliver(self, channel: str) -> None:
        desk = desk_of(self.bench, self.loop, {channel: self.outbox})
        deliver(desk, channel, planned(self.bench, channel))

    def hear(self, *told: Told, channel: str = "sms") -> int:
        settling = Settling(
            self.bench.ledger, returns_of(self.bench), POLICIES, self.bench.versions, no_jitter, self.bench.ring
        )
        return settle.settle(settling, channel, told, self.bench.clock())

    def report(self, says: Any, delivery_id: int | None = None, **facts: Any) -> Report:
        return Report(returns_of(self.bench).key_of(delivery_id or self.sms()[0]), says, **facts)

    def sms(self) -> list[int]:
        return planned(self.bench, "sms")

    def state(self) -> str:
        return str(delivery(self.bench, self.sms()[0]).state)

    def recorded(self, *types: str) -> list[dict[str, Any]]:
        with self.bench.ledger.read() as conn:
            return [entry for entry in events.feed(conn, events.START, 1_000)[0] if entry["type"] in types]

    def sweep(self) -> None:
        sweep(
            self.bench.ledger,
            settings=SweepSettings(ring_after=0),
            versions=self.bench.versions,
            policies=POLICIES,
            clock=self.bench.clock,
            jitter=no_jitter,
            ring=self.bench.ring,
            short=lambda _: True,
        )


def office(bench: Bench, loop: asyncio.AbstractEventLoop, outcome: Outcome | None = None) -> Office:
    bench.apply(FALLBACK)
    return Office(bench, loop, Outbox(None if outcome is None else lambda _: outcome))


LOST = Failed("reset", maybe_sent=True)


@pytest.mark.parametrize(
    ("outcome", "says", "state"),
    [
        (Sent("SM1"), "sent", "sent"),
        (Sent("SM1"), "delivered", "delivered"),
        (Sent("SM1"), "rejected", "rejected"),
        (LOST, "sent", "sent"),
        (LOST, "delivered", "delivered"),
        (LOST, "rejected", "rejected"),
        (Rejected("no", address_dead=False), "sent", "rejected"),
        (Rejected("no", address_dead=False), "delivered", "rejected"),
    ],
)
def test_a_report_settles_what_is_open_and_takes_back_no_end(
    bench: Bench, loop: asyncio.AbstractEventLoop, outcome: Outcome, says: str, state: str
) -> None:
    made = office(bench, loop, outcome)
    made.send("p1")

    made.hear(made.report(says, why="told"))

    assert made.state() == state


def test_reports_in_every_order_and_twice_come_to_the_same_end(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    """Of those that are an end, the first rules: Twilio ranks delivered and undelivered alike."""
    made = office(bench, loop, LOST)
    words = ("sent", "sent", "delivered")
    for number, order in enumerate(sorted(set(itertools.permutations(words)))):
        made.send(f"p{number}", request_id=f"r-{number}")
        newest = made.sms()[-1]

        changed = [made.hear(made.report(says, newest)) for says in order]

        assert delivery(bench, newest).state == "delivered"
        assert sum(changed) == (1 if order[0] == "delivered" else 2)


def test_a_report_is_recorded_once_as_events(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop, LOST)
    made.send("p1")

    for says in ("sent", "sent", "delivered", "sent", "delivered"):
        made.hear(made.report(says))

    assert [event["type"] for event in made.recorded("delivery.sent", "delivery.delivered")] == [
        "delivery.sent",
        "delivery.delivered",
    ]
    assert {event["data"]["channel"] for event in made.recorded("delivery.sent", "delivery.delivered")} == {"sms"}


def test_a_report_that_overtakes_the_answer_to_the_send_stands(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)

    def answer(message: Message) -> Outcome:
        made.hear(Report(message.key, "delivered", ref="SM1"))
        return Sent("SM1")

    made.outbox = Outbox(answer)
    made.send("p1")

    assert made.state() == "delivered"
    assert delivery(bench, made.sms()[0]).due_at is None
    assert len(made.recorded("delivery.sent")) == 1


def test_what_never_arrives_moves_the_journey_on(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)
    made.send("p1")
    bench.rung.clear()

    made.hear(made.report("rejected", why="twilio 30003"))

    [failed] = made.recorded("delivery.failed")
    assert failed["data"].items() >= {"channel": "sms", "rule": 2, "reason": "twilio 30003"}.items()
    assert bench.rung == [("deliver.email", [planned(bench, "email")[-1]])]


def test_a_report_about_what_was_given_up_is_still_news(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop, LOST)
    made.send("p1")
    bench.clock.advance(16 * MINUTE)
    made.sweep()
    assert (made.state(), len(made.recorded("delivery.failed"))) == ("unknown", 1)

    made.hear(made.report("delivered"))

    assert made.state() == "delivered"


def test_what_the_provider_dropped_is_sent_again(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)
    made.send("p1")

    made.hear(made.report("again", why="twilio 30001"))

    assert made.state() == "planned"
    bench.clock.advance(MINUTE)
    made.deliver("sms")
    assert (made.state(), len(made.outbox.sent)) == ("sent", 2)
    assert len({message.key for message in made.outbox.sent}) == 1


def test_what_the_provider_keeps_dropping_is_exhausted_in_the_end(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    made = office(bench, loop)
    made.send("p1")

    for _ in range(POLICIES["sms"].max_attempts):
        made.hear(made.report("again", why="twilio 30001"))
        bench.clock.advance(MINUTE)
        made.deliver("sms")

    assert made.state() == "exhausted"
    assert len(made.outbox.sent) == POLICIES["sms"].max_attempts
    assert len(made.recorded("delivery.failed")) == 1


def test_a_fault_of_ours_that_is_told_later_halts_the_channel(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)
    made.send("p1")

    made.hear(made.report("rejected", why="twilio 30034", halted=True))

    with bench.ledger.read() as conn:
        assert channels.states(conn)["sms"].reason == "twilio 30034"
    assert [event["data"] for event in made.recorded("channel.halted")] == [
        {"channel": "sms", "reason": "twilio 30034"}
    ]


def test_a_dead_address_is_not_tried_by_the_next_campaign(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)
    made.send("p1")
    made.hear(made.report("rejected", why="twilio 30005", address_dead=True))

    made.send("p2", request_id="r-2")  # the same number

    assert len(made.outbox.sent) == 1
    assert delivery(bench, made.sms()[1]).reason == "suppressed: twilio 30005"


def test_a_complaint_about_what_arrived_opts_the_player_out(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)
    made.send("p1")
    made.hear(made.report("delivered"))

    made.hear(made.report("rejected", why="complaint", address_dead=True, opted_out=True))

    assert made.state() == "delivered"
    with bench.ledger.read() as conn:
        assert players.by_ids(conn, ["p1"])["p1"].refusal("sms", bench.clock()) == "opted_out"
    assert made.recorded("player.opted_out")[0]["data"] == {"player_id": "p1", "channel": "sms", "via": "provider"}


def test_a_player_who_answered_stop_is_opted_out_at_the_send(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop, Rejected("twilio 21610", address_dead=True, opted_out=True))

    made.send("p1")

    with bench.ledger.read() as conn:
        assert players.by_ids(conn, ["p1"])["p1"].opt_outs == {"sms": bench.clock()}
    assert len(made.recorded("player.opted_out")) == 1
    assert expiries(bench) == [None]


def expiries(bench: Bench) -> list[Instant | None]:
    with bench.ledger.read() as conn:
        return list(conn.execute(select(schema.suppressions.c.expires_at)).scalars())


def test_an_unsubscribed_player_stays_so_until_the_crm_says_otherwise(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    made = office(bench, loop)
    made.send("p1")

    assert settle.unsubscribe(bench.ledger, made.sms()[0], bench.clock())
    assert settle.unsubscribe(bench.ledger, made.sms()[0], bench.clock())

    def refused(**consents: bool) -> str | None:
        with bench.ledger.begin() as conn:
            players.put(conn, Player("p1", None, None, consents, []), bench.clock())
            return players.by_ids(conn, ["p1"])["p1"].refusal("sms", bench.clock())

    assert len(made.recorded("player.opted_out")) == 1
    assert refused() == "opted_out"
    assert refused(email=True) == "opted_out"
    assert refused(sms=True) is None
    assert refused() is None


def test_nothing_is_known_of_a_delivery_that_is_not_there(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop)
    made.send("p1")
    of_another_ledger = replace(returns_of(bench), ledger_id="ffffffff").key_of(made.sms()[0])

    assert made.hear(Report("d-nonsense", "delivered"), Report(of_another_ledger, "delivered")) == 0
    assert made.hear(made.report("delivered", 999_999)) == 0
    assert made.hear(made.report("delivered"), channel="email") == 0
    assert made.state() == "sent"
    assert not settle.unsubscribe(bench.ledger, 999_999, bench.clock())


def test_stop_and_start_hold_for_the_number_and_older_news_never_undoes_newer(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    made = office(bench, loop)
    number, now = "+35699123456", bench.clock()

    def reaches() -> bool:
        before = len(made.outbox.sent)
        made.send(f"p{bench.clock()}", request_id=f"r-{bench.clock()}")
        return len(made.outbox.sent) > before

    stop = Reachability("sms", number, reachable=False, why="answered STOP", at=now + SECOND)
    start = Reachability("sms", number, reachable=True, why="answered START", at=now + MINUTE)
    bench.clock.advance(HOUR)
    made.hear(stop)
    assert not reaches()
    made.hear(start)
    assert reaches()
    made.hear(stop)  # a repetition that was under way
    assert reaches()
    made.hear(replace(stop, at=None))
    assert not reaches()


def test_news_that_somebody_is_back_outlives_older_news_that_comes_after_it(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    made = office(bench, loop)
    bench.clock.advance(DAY)
    back = Reachability("sms", "+35699123456", reachable=True, why="back", at=bench.clock() - SECOND)

    made.hear(back, replace(back, reachable=False, why="blocked", at=bench.clock() - MINUTE))

    made.send("p1")
    assert len(made.outbox.sent) == 1


TELEGRAM = CAMPAIGN.replace('send = ["sms"]', 'send = ["telegram"]')


def with_chat(bench: Bench, player_id: str, chat: str) -> None:
    from promocast import jobs

    recipient = {"player_id": player_id, "addresses": {"telegram": chat}, "attributes": {"first_name": "Ann"}}
    job = jobs.read_issue_job({"request_id": player_id, "campaign": "welcome", "recipients": [recipient]})
    part_id = bench.accept(job).part_id
    assert part_id is not None
    bench.issue_part(part_id)
    bench.clock.advance(HOUR)


def test_a_chat_that_moved_is_followed_from_then_on(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    """Told by the answer to a send, or by an update; once moved, the old number is not asked again."""
    bench.apply(TELEGRAM)
    made = Office(bench, loop, Outbox(lambda _: Sent("7", moved_to="-1001")))
    with_chat(bench, "p1", "-555")
    made.deliver("telegram")
    with_chat(bench, "p2", "-555")
    made.outbox = Outbox()
    made.deliver("telegram")
    assert [message.address for message in made.outbox.sent] == ["-1001"]

    made.hear(Moved("telegram", "-1001", "-1002"), channel="telegram")
    with_chat(bench, "p3", "-555")
    with_chat(bench, "p4", "-1001")
    made.deliver("telegram")

    assert [message.address for message in made.outbox.sent[1:]] == ["-1002", "-1002"]


def test_a_chat_that_moved_and_is_gone_is_suppressed_under_its_own_number(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    bench.apply(TELEGRAM)
    made = Office(bench, loop, Outbox(lambda _: Rejected("telegram 403 kicked", address_dead=True)))
    made.hear(Moved("telegram", "-555", "-1001"), channel="telegram")
    for player_id, chat in (("p1", "-555"), ("p2", "-555"), ("p3", "-1001")):
        with_chat(bench, player_id, chat)
        made.deliver("telegram")

    assert [message.address for message in made.outbox.sent] == ["-1001"]


def test_the_history_of_a_delivery_keeps_what_was_unknown(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    made = office(bench, loop, LOST)
    made.send("p1")
    made.hear(made.report("delivered", ref="SM9"))

    assert attempted(bench, made.sms()[0]) == [(1, "unknown", "reset")]
    assert delivery(bench, made.sms()[0]).ref == "SM9"
    with bench.ledger.read() as conn:
        assert figures.counts(conn)["sms"] == {"delivered": 1}
