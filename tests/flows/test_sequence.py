"""`data.sequence`: the same number in a call and in the feed, growing for one code from commit to commit."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import psycopg
import pytest
from sqlalchemy import event, select

from promocast.campaign.rule import Rule
from promocast.channels.outbox import Outbox
from promocast.errors import Conflict
from promocast.flows import aftermath, settle
from promocast.flows.deliver import deliver
from promocast.flows.settle import Settling
from promocast.ledger import Ledger, deliveries, events, schema
from promocast.ledger.deliveries import Closing, NewDelivery
from promocast.model import Report
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import POLICIES, desk_of, no_jitter, planned, returns_of, running_loop
from tests.flows.stories import CALLED_FOR, everything_happens, recorded_types
from tests.flows.test_races import at_once
from tests.flows.test_show import act, save


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def fed(bench: Bench) -> list[dict[str, Any]]:
    with bench.ledger.read() as conn:
        return events.feed(conn, events.START, 1_000)[0]


def test_a_call_and_its_event_in_the_feed_have_one_number(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    told = everything_happens(bench, loop, CALLED_FOR)

    bodies = [orjson.loads(message.content["body"]) for message in told.calls]
    called = {(b["type"], b["data"]["code"], b["data"]["sequence"]) for b in bodies if "type" in b}
    in_the_feed = {(e["type"], e["code"], e["data"]["sequence"]) for e in fed(bench) if "code" in e}
    assert called <= in_the_feed
    assert {type_ for type_, _, _ in called} == set(Rule.model_fields["on"].annotation.__args__)  # type: ignore[union-attr]


def test_every_event_of_a_code_has_a_number_and_issued_is_the_first(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    everything_happens(bench, loop)

    numbers: dict[str, list[int]] = {}
    for told in fed(bench):
        if "code" in told:
            numbers.setdefault(told["code"], []).append(told["data"]["sequence"])
        else:
            assert "sequence" not in told["data"]
    assert len(numbers) == 5
    for of_one in numbers.values():
        assert of_one == sorted(set(of_one))
        assert of_one[0] == events.FIRST


def test_two_messages_of_one_code_that_are_recorded_at_once_have_two_numbers(bench: Bench) -> None:
    codes, now = bench.issue("p1", "p2"), bench.clock()
    with bench.ledger.begin() as conn:
        new = [NewDelivery(code.id, 0, "push", slot, now) for code in codes for slot in range(3)]
        ids = [row_id for _, row_id, _ in deliveries.plan(conn, new, now)]
        claimed = deliveries.claim(conn, ids, now=now, lease_until=now + 1, resends=0, max_attempts=1)

        aftermath.sent(conn, bench.versions, claimed, now)

    sent = [(e["code"], e["data"]["sequence"]) for e in fed(bench) if e["type"] == "delivery.sent"]
    assert len(set(sent)) == len(sent) == 6


def test_a_body_of_a_rules_own_can_name_the_number(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.apply(CAMPAIGN.replace('"code" : "{{event.code}}"', '"n" : "{{event.sequence}}"'))
    [code] = bench.issue("p1")
    act(bench, code.code)
    calls = Outbox()

    deliver(desk_of(bench, loop, {"call": calls}), "call", planned(bench, "call"))

    [action] = [told for told in fed(bench) if told["type"] == "client_action"]
    assert [message.content["body"] for message in calls.sent] == [f'{{ "n" : "{action["data"]["sequence"]}" }}']


@contextmanager
def unheld(ledger: Ledger) -> Iterator[tuple[set[str], list[str]]]:
    """(types that were appended with a code, those of them whose code was not held then), seen by another connection at
    the very moment of each append. A code that nobody else can see yet is held well enough."""
    appended: set[str] = set()
    loose: list[str] = []
    own = ledger.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")

    def look(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("INSERT INTO events"):
            return
        types, ids = (parameters.get(f"r_{n}") or [parameters.get(n)] for n in ("type", "code_id"))
        for type_, code_id in zip(types, ids, strict=True):
            if code_id is None:
                continue
            appended.add(type_)
            with psycopg.connect(own) as other:
                try:
                    if other.execute("SELECT 1 FROM codes WHERE id = %s FOR UPDATE NOWAIT", (code_id,)).fetchone():
                        loose.append(type_)
                except psycopg.errors.LockNotAvailable:
                    other.rollback()

    event.listen(ledger.engine, "before_cursor_execute", look)
    try:
        yield appended, loose
    finally:
        event.remove(ledger.engine, "before_cursor_execute", look)


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_whoever_appends_an_event_of_a_code_holds_the_code(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    with unheld(bench.ledger) as (appended, loose):
        everything_happens(bench, loop)

    assert loose == []
    of_many = {"delivery.sent"}  # by the delivery, for many codes at once
    assert appended == {type_ for type_, is_a_codes in recorded_types().items() if is_a_codes} - of_many


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_an_event_that_is_appended_without_holding_its_code_is_noticed(bench: Bench) -> None:
    [code] = bench.issue("p1")

    with unheld(bench.ledger) as (_, loose), bench.ledger.begin() as conn:
        events.append(conn, events.Event("code.shown", bench.clock(), "welcome", code.id))

    assert loose == ["code.shown"]


def snapshots(bench: Bench, code_id: int, stop: threading.Event) -> Iterator[list[int]]:
    """The code's numbers as they were committed, look by look."""
    e = schema.events.c
    numbers = select(e.id).where(e.code_id == code_id).order_by(e.id)
    while not stop.is_set():
        with bench.ledger.read() as conn:
            yield list(conn.execute(numbers).scalars())


def test_the_numbers_of_one_code_grow_in_the_order_of_commits(bench: Bench) -> None:
    """Whatever is written at once about one code: nobody ever sees a number, and later a smaller one."""
    [code] = bench.issue("p1")
    settling = Settling(bench.ledger, returns_of(bench), POLICIES, bench.versions, no_jitter, bench.ring)
    keys = sent_messages(bench, code.id, 60)
    looks: list[list[int]] = []
    done = threading.Event()

    def watch() -> None:
        looks.extend(snapshots(bench, code.id, done))

    def pay(first: int) -> None:
        for i in range(first, first + 12):
            for status in ("approved", "rolled_back"):
                bench.deposit(f"tx-{i}", promo_code=code.code, status=status)

    def report(others: bool) -> None:
        for i in range(30):
            if not others:
                act(bench, code.code, eid=f"e-{i}")
            else:
                with pytest.raises(Conflict):
                    save(bench, code.code, player_id="p2")

    def arrive(some: Sequence[str]) -> None:
        for key in some:
            settle.settle(settling, "sms", [Report(key, "delivered")], bench.clock())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        at_once(
            lambda: pay(0),
            lambda: pay(100),
            lambda: report(others=False),
            lambda: report(others=True),
            lambda: arrive(keys[:30]),
            lambda: arrive(keys[30:]),
        )
    finally:
        done.set()
        watcher.join()

    with bench.ledger.read() as conn:
        e = schema.events.c
        recorded = conn.execute(select(e.id, e.type).where(e.code_id == code.id).order_by(e.id)).all()
    final, types = [row.id for row in recorded], Counter(row.type for row in recorded)
    assert types["delivery.delivered"] == 60
    assert types["client_action"] == types["code.report_refused"] == 30
    assert types["code.redeemed"] == types["code.rolled_back"] > 0
    assert len({len(look) for look in looks}) > 10, "the watcher saw it grow"
    for look in looks:
        assert look == final[: len(look)], "a smaller number was committed after a larger one"


def sent_messages(bench: Bench, code_id: int, count: int) -> list[str]:
    """The keys of so many messages that were sent for a code, none of them reported yet."""
    now = bench.clock()
    with bench.ledger.begin() as conn:
        new = [NewDelivery(code_id, 2, "sms", slot, now) for slot in range(100, 100 + count)]
        ids = sorted(row_id for _, row_id, _ in deliveries.plan(conn, new, now))
        claimed = deliveries.claim(conn, ids, now=now, lease_until=now + 1, resends=0, max_attempts=1)
        deliveries.close(conn, [Closing(one, "sent") for one in claimed], now)
    return [returns_of(bench).key_of(i) for i in ids]
