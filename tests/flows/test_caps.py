"""Caps: no player is sent more than they allow, over all campaigns, however many send at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, text

from promocast.campaign.caps import LOOK_AGAIN, Cap
from promocast.flows import claims
from promocast.flows.deliver import deliver
from promocast.ledger import Ledger, contacts, deliveries
from promocast.model import CHANNELS, DAY, HOUR, MINUTE, PLAYER_CHANNELS, Failed, Rejected
from tests.conftest import NOW
from tests.flows.conftest import Bench
from tests.flows.desk import delivery, desk_of, planned, running_loop
from tests.flows.staging import Stage, source
from tests.ledger import plant_codes

ALL = frozenset(PLAYER_CHANNELS)
ONE_A_DAY = Cap(ALL, 1, DAY)
SMS = 'on = "code.issued"\nsend = ["sms"]'
PUSH = 'on = "code.issued"\nsend = ["push"]'


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def capped(bench: Bench, loop: asyncio.AbstractEventLoop, *caps: Cap, campaigns: dict[str, list[str]]) -> Stage:
    """A stage with caps, and campaigns in force by their ids, whose codes live for three days."""
    for name, rules in campaigns.items():
        bench.apply(source(*rules, id_=name, code='valid_for = "3d"'))
    return Stage(bench, loop, caps=caps)


def test_a_message_too_many_waits_until_the_window_frees(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": [SMS], "two": [SMS]})
    stage.issue("ann", "bob", campaign="one")
    stage.deliver("sms")
    bench.clock.advance(HOUR)
    stage.issue("ann", campaign="two", request_id="r-2")

    stage.deliver("sms")

    assert [state for state, _ in stage.states("sms")] == ["sent", "sent", "planned"]
    assert stage.states("sms")[2] == ("planned", "capped")
    assert delivery(bench, planned(bench, "sms")[2]).attempts == 0
    assert stage.due("sms")[2] == bench.clock() + 23 * HOUR
    bench.clock.advance(23 * HOUR)
    stage.deliver("sms")
    assert stage.states("sms")[2] == ("sent", None)


def test_a_cap_counts_the_channels_that_it_names_together(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(
        bench,
        loop,
        Cap(frozenset({"sms", "push"}), 2, DAY),
        campaigns={"one": [SMS, PUSH, 'on = "code.issued"\nsend = ["email", "popup"]']},
    )
    stage.issue("ann", campaign="one")
    stage.deliver()
    stage.issue("ann", campaign="one", request_id="r-2")

    stage.deliver()

    states = {channel: [state for state, _ in stage.states(channel)] for channel in PLAYER_CHANNELS[:3]}
    assert states == {"popup": ["sent", "sent"], "email": ["sent", "sent"], "push": ["sent", "planned"]}


def test_of_many_in_one_claim_the_first_go(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(bench, loop, Cap(ALL, 2, DAY), campaigns={"one": [SMS]})
    for turn in range(4):
        stage.issue("ann", campaign="one", request_id=f"r-{turn}")

    stage.deliver("sms")

    assert [state for state, _ in stage.states("sms")] == ["sent", "sent", "planned", "planned"]


def test_one_message_to_several_addresses_counts_once(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": [PUSH]})
    devices = {"push": [{"kind": "fcm", "token": f"t{n}"} for n in range(3)]}
    stage.issue("ann", campaign="one", addresses=devices)
    stage.issue("ann", campaign="one", addresses=devices, request_id="r-2")

    stage.deliver("push")

    assert [state for state, _ in stage.states("push")] == ["sent"] * 3 + ["planned"] * 3


def test_a_rule_without_a_cap_is_neither_held_up_nor_counted(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": [SMS + "\ncap = false"], "two": [SMS]})
    stage.issue("ann", campaign="one")
    stage.deliver("sms")
    stage.issue("ann", campaign="two", request_id="r-2")
    stage.deliver("sms")
    stage.issue("ann", campaign="one", request_id="r-3")
    stage.deliver("sms")

    assert [state for state, _ in stage.states("sms")] == ["sent", "sent", "sent"]


def test_calls_to_systems_are_not_counted(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": ['on = "code.issued"\ncall = "crm"', SMS]})
    stage.issue("ann", campaign="one")

    stage.deliver("call", "sms")
    stage.issue("ann", campaign="one", request_id="r-2")
    stage.deliver("call")

    assert [state for state, _ in stage.states("call")] == ["sent", "sent"]
    assert stage.states("sms")[0] == ("sent", None)


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (Rejected("410", address_dead=False), False),
        (Failed("503", maybe_sent=False), False),
        (Failed("timeout", maybe_sent=True), True),
    ],
    ids=["rejected", "failed", "unknown"],
)
def test_what_may_have_arrived_is_counted_and_what_has_not_is_not(
    bench: Bench, loop: asyncio.AbstractEventLoop, answer: Rejected | Failed, counts: bool
) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": [SMS], "two": [SMS]})
    stage.answers["sms"] = lambda _: answer
    stage.issue("ann", campaign="one")
    stage.deliver("sms")
    stage.answers.clear()
    stage.issue("ann", campaign="two", request_id="r-2")

    stage.deliver("sms")

    assert stage.states("sms")[1] == (("planned", "capped") if counts else ("sent", None))


def test_a_message_that_may_have_arrived_is_repeated_whatever_the_cap(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": ['on = "code.issued"\nsend = ["popup", "push"]']})
    stage.answers["popup"] = lambda _: Failed("timeout", maybe_sent=True)
    stage.issue("ann", campaign="one")
    stage.deliver("popup", "push")
    assert stage.states("push") == [("planned", "capped")]
    stage.answers.clear()

    bench.clock.now = stage.due("popup")[0] or 0
    stage.deliver("popup")

    assert stage.states("popup") == [("sent", None)]


def test_what_is_under_way_and_may_come_to_nothing_is_looked_at_again_soon(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": [SMS, PUSH]})
    stage.issue("ann", campaign="one")
    desk = desk_of(bench, loop, caps=(ONE_A_DAY,))
    with bench.ledger.begin() as conn:
        [under_way], _ = claims.claim(desk, conn, "sms", planned(bench, "sms"), bench.clock())

    stage.deliver("push")

    assert under_way.delivery.channel == "sms"
    assert stage.states("push") == [("planned", "capped")]
    assert stage.due("push") == [bench.clock() + LOOK_AGAIN]


def test_what_is_capped_longer_than_its_code_lives_is_skipped_and_the_journey_falls_back(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    fallback = 'on = "delivery.failed"\nof = "sms"\nsend = ["popup"]\ncap = false'
    stage = capped(bench, loop, Cap(ALL, 1, 4 * DAY), campaigns={"one": [SMS, fallback]})
    stage.issue("ann", campaign="one")
    stage.deliver("sms")
    stage.issue("ann", campaign="one", request_id="r-2")

    stage.deliver("sms", "popup")

    assert stage.states("sms") == [("sent", None), ("skipped", "capped")]
    assert stage.states("popup") == [("sent", None)]


def test_a_window_that_frees_at_night_is_waited_for_until_the_morning(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    night = 'quiet_hours = { from = "21:00", to = "09:00" }'
    bench.apply(source(SMS, more=night))
    stage = Stage(bench, loop, caps=(Cap(ALL, 1, 12 * HOUR),))
    stage.issue("ann")  # 11:00 in Malta
    stage.deliver("sms")
    stage.issue("ann", request_id="r-2")

    stage.deliver("sms")
    at_night = stage.due("sms")[1]
    bench.clock.now = at_night or 0
    stage.deliver("sms")

    assert at_night == NOW + 12 * HOUR
    assert stage.states("sms")[1] == ("planned", "quiet_hours")
    assert NOW + 22 * HOUR <= (stage.due("sms")[1] or 0) < NOW + 22 * HOUR + 30 * MINUTE


def test_what_is_stopped_otherwise_uses_nothing_up(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    stage = capped(bench, loop, ONE_A_DAY, campaigns={"one": [SMS]})
    [first] = stage.issue("ann", campaign="one")
    stage.revoke(first)
    stage.issue("ann", campaign="one", request_id="r-2")

    stage.deliver("sms")

    assert stage.states("sms") == [("skipped", "revoked"), ("sent", None)]


@pytest.mark.parametrize("most", [1, 2])
def test_of_many_who_send_to_one_player_at_once_only_so_many_do(
    bench: Bench, loop: asyncio.AbstractEventLoop, most: int
) -> None:
    """Five channels, each with a sender of its own, and each with a message to every player."""
    cap = Cap(ALL, most, DAY)
    stage = capped(
        bench,
        loop,
        cap,
        campaigns={"one": ['on = "code.issued"\nsend = ["popup", "email", "push", "telegram", "sms"]']},
    )
    names = [f"p{n}" for n in range(30)]
    stage.issue(*names, campaign="one")
    adapters = {**stage.outboxes, "push.fcm": stage.outboxes["push"]}
    desk = desk_of(bench, loop, adapters, caps=(cap,))
    gate = threading.Barrier(len(PLAYER_CHANNELS))

    def send(channel: str, turn: int) -> None:
        ids = planned(bench, channel)
        gate.wait()
        deliver(desk, channel, ids[turn:] + ids[:turn])

    with ThreadPoolExecutor(len(PLAYER_CHANNELS)) as pool:
        list(pool.map(send, PLAYER_CHANNELS, range(0, 25, 5)))

    sent = [message.player_id for channel in PLAYER_CHANNELS for message in stage.sent(channel)]
    assert {name: sent.count(name) for name in names} == dict.fromkeys(names, most)


@pytest.mark.parametrize(("channels", "exclusive"), [({"email"}, False), ({"email", "sms"}, True)])
def test_players_are_held_against_other_senders_only_where_a_cap_counts(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    channels: set[str],
    exclusive: bool,
) -> None:
    held: list[str] = []
    monkeypatch.setattr(claims, "lock_players", lambda conn, player_ids: held.extend(player_ids))
    stage = capped(bench, loop, Cap(frozenset(channels), 1, DAY), campaigns={"one": [SMS]})
    stage.issue("ann", campaign="one")

    stage.deliver("sms")

    assert set(held) == ({"ann"} if exclusive else set())


# What it costs


def test_a_players_messages_are_found_by_indexes_however_many_others_there_are(ledger: Ledger) -> None:
    """And the question is not one that reads a table from end to end."""
    with ledger.begin() as conn:
        for first in range(0, 10_000, 500):
            ids = plant_codes(conn, *(f"p{n}" for n in range(first, first + 500)))
            new = [deliveries.NewDelivery(i, 0, channel, 0, 1) for i in ids for channel in ("popup", "sms")]
            deliveries.plan(conn, new, 1)
        conn.execute(text("UPDATE deliveries SET state = 'sent', due_at = NULL, sent_at = id, attempted_at = id"))
    with ledger.begin() as conn:
        conn.execute(text("ANALYZE"))
    asked: list[tuple[str, Any]] = []

    def keep(_conn: object, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:
        asked.append((statement, parameters))

    event.listen(ledger.engine, "before_cursor_execute", keep)
    with ledger.read() as conn:
        found = contacts.of_players(conn, [f"p{n}" for n in range(0, 10_000, 2_500)], sorted(ALL), 9_000)
        statement, parameters = asked[-1]
        how = "EXPLAIN QUERY PLAN" if ledger.dialect == "sqlite" else "EXPLAIN"
        plan = "\n".join(map(str, conn.exec_driver_sql(f"{how} {statement}", parameters)))

    assert len(found) == 4, "of eight the later ones"
    assert "ix_codes_player_id" in plan
    assert "uq_deliveries_code_id_rule_event_key_channel_slot" in plan or "sqlite_autoindex_deliveries_1" in plan
    assert "Seq Scan" not in plan
    assert "SCAN" not in plan


def test_every_channel_that_reaches_a_player_can_be_capped() -> None:
    assert frozenset(CHANNELS) - {"call"} == ALL
    assert MINUTE <= LOOK_AGAIN
