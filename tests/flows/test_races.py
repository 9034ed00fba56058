"""Races: what two transactions at once must not lose, and what a stop in the middle must not forget."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from promocast import jobs
from promocast.flows import show, tell
from promocast.flows.deliver import deliver
from promocast.flows.fallback import fire_failed
from promocast.ledger import audit, budgets, deliveries, deposits, events
from promocast.ledger.deliveries import Closing, NewDelivery
from promocast.model import HOUR, MINUTE, Failed, Message, Outcome, Rejected, Sent
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.desk import POLICY, delivery, planned
from tests.flows.test_deliver import loop, popup_desk, stopping_desk
from tests.flows.test_show import EXTERNAL, act, code_of

__all__ = ["loop"]


def at_once(*works: Callable[[], object]) -> None:
    """Run all of it at the same time; the first error is raised."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        gate.wait()
        work()

    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(run, work) for work in works]:
            future.result()


def quoting(code: str, deposit_id: str, player_id: str) -> jobs.Deposit:
    facts = {"amount": "50.00", "currency": "EUR", "status": "approved", "promo_code": code}
    return jobs.read_deposit({"deposit_id": deposit_id, "player_id": player_id, **facts})


def test_a_code_recorded_while_its_deposit_is_judged_is_found_all_the_same(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    for turn in range(15):
        names = [f"{turn:03}X{i:03}" for i in range(12)]
        ids = tell.record(bench.ledger, [quoting(f"CRM{n}", f"tx{n}", f"p{n}") for n in names], bench.clock())

        def save(some: list[str]) -> None:
            for n in some:
                show.saved(
                    bench.ledger, f"CRM{n}", bench.clock(), versions=bench.versions, ring=bench.ring, player_id=f"p{n}"
                )

        at_once(lambda ids=ids: bench.judge(*ids), lambda n=names: save(n[:6]), lambda n=names: save(n[6:]))  # type: ignore[misc]
        for queue, woken in bench.rung:
            if queue == jobs.VERIFY:
                bench.judge(*woken)
        bench.rung.clear()

        with bench.ledger.read() as conn:
            found = [deposits.get(conn, deposit_id) for deposit_id in ids]
        assert [deposit.result for deposit in found if deposit] == ["accepted"] * len(ids)


def with_budget(redemptions: int, amount: str) -> str:
    budget = f'[redemption]\nbudget = {{ redemptions = {redemptions}, amount = {{ EUR = "{amount}" }} }}'
    return CAMPAIGN.replace("[redemption]", budget) + '\n[reward]\npercent = "100"\n'


@pytest.mark.parametrize(("redemptions", "amount", "accepted"), [(30, "99999.00", 30), (999, "1250.00", 25)])
def test_of_deposits_at_once_as_many_are_accepted_as_the_budget_has(
    bench: Bench, redemptions: int, amount: str, accepted: int
) -> None:
    bench.apply(with_budget(redemptions, amount))
    codes = bench.issue(*(f"p{i}" for i in range(48)))
    ids = tell.record(
        bench.ledger, [quoting(code.code, f"tx{code.player_id}", code.player_id or "") for code in codes], bench.clock()
    )

    at_once(*(lambda some=ids[i::8]: [bench.judge(deposit_id) for deposit_id in some] for i in range(8)))

    with bench.ledger.read() as conn:
        found = [deposits.get(conn, deposit_id) for deposit_id in ids]
        spent = budgets.of_campaign(conn, "welcome")
        assert audit.violations(conn) == []
    verdicts = [deposit.verdict for deposit in found if deposit and deposit.verdict]
    assert [verdict["result"] for verdict in verdicts].count("accepted") == accepted
    assert {verdict["reason"] for verdict in verdicts if verdict["result"] == "refused"} == {"budget_exhausted"}
    assert spent == {budgets.COUNT: accepted, "EUR": accepted * 5_000}


def test_waking_many_deposits_while_they_are_judged_does_not_deadlock(bench: Bench) -> None:
    order = list(range(100))
    random.Random(1).shuffle(order)
    told = [quoting(f"CRM{order[i]:03}", f"tx{i:03}", f"p{i}") for i in range(100)]
    ids = tell.record(bench.ledger, told, bench.clock())
    bench.judge(*ids)

    def wake() -> None:
        with bench.ledger.begin() as conn:
            deposits.wake(conn, [f"CRM{i:03}" for i in range(100)], bench.clock())

    for _ in range(20):
        at_once(lambda: bench.judge(*ids), wake)

    assert {verdict["result"] for verdict in bench.judge(*ids).values()} == {"waiting"}


def test_of_two_addresses_that_fail_at_once_one_fires_the_fallback(bench: Bench) -> None:
    [code] = bench.issue("p1")
    now = bench.clock()
    with bench.ledger.begin() as conn:
        new = deliveries.plan(conn, [NewDelivery(code.id, 0, "push", slot, now) for slot in (0, 1)], now)
        ids = [row_id for _, row_id, _ in new]
        claimed = deliveries.claim(conn, ids, now=now, lease_until=now + HOUR, resends=0, max_attempts=1)
    closed = threading.Barrier(2, timeout=5)

    def fail(one: deliveries.Claimed) -> None:
        with bench.ledger.begin() as conn:
            deliveries.close(conn, [Closing(one, "rejected", "410")], now)
            if bench.ledger.dialect == "postgresql":  # SQLite has one writer: the two cannot be open at once
                closed.wait()
            fire_failed(conn, deliveries.ended(conn, [one.id]), bench.versions, now)

    at_once(*(lambda one=one: fail(one) for one in claimed))

    with bench.ledger.read() as conn:
        feed, _ = events.feed(conn, events.START, 100)
    assert [event["type"] for event in feed].count("delivery.failed") == 1


def test_nothing_further_is_claimed_once_the_desk_is_stopping(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue(*(f"p{i}" for i in range(6)))
    desk, stopper = stopping_desk(bench, loop, replace(POLICY, slots=2))

    deliver(desk, "popup", planned(bench, "popup"))

    assert len(stopper.sent) == 2
    assert [delivery(bench, i).state for i in planned(bench, "popup")] == ["sent"] * 2 + ["planned"] * 4


def test_a_stop_is_heard_while_everything_in_flight_hangs(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2")
    desk, stopper = stopping_desk(bench, loop, replace(POLICY, slots=2))

    class Hanging:
        async def send(self, message: Message) -> Outcome:
            stopper.stopping.set()
            await asyncio.Event().wait()
            return Sent(message.key)

        async def close(self) -> None:
            return None

    started = time.monotonic()
    deliver(replace(desk, adapters={"popup": Hanging()}), "popup", planned(bench, "popup"))

    assert time.monotonic() - started < 3


def test_an_external_code_is_the_players_whose_client_action_reports_it(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    code = show.saved(bench.ledger, "CRM-77", bench.clock(), versions=bench.versions, ring=bench.ring)

    act(bench, "CRM-77", player_id="p1")

    assert code_of(bench, code.id).player_id == "p1"


@pytest.mark.parametrize("later", [Failed("503", maybe_sent=False), "not configured"])
def test_what_may_have_arrived_stays_unknown_however_later_attempts_end(
    bench: Bench, loop: asyncio.AbstractEventLoop, later: Outcome | str
) -> None:
    bench.issue("p1")
    answers: list[Outcome] = [Failed("timeout", maybe_sent=True), Failed("503", maybe_sent=False)]
    desk, _ = popup_desk(bench, loop, lambda _: answers.pop(0), max_attempts=2)
    [popup] = planned(bench, "popup")
    deliver(desk, "popup", [popup])
    bench.clock.advance(MINUTE)

    deliver(desk if isinstance(later, Failed) else replace(desk, adapters={}), "popup", [popup])

    assert delivery(bench, popup).state == "unknown"
    assert delivery(bench, popup).due_at is None


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)  # SQLite has one writer
def test_a_sender_whose_message_fails_and_a_judge_do_not_wait_for_each_other(
    bench: Bench, loop: asyncio.AbstractEventLoop
) -> None:
    """The sender falls back, which holds the failed message's code, and claims for another player: if it held that
    player only then, a judge could hold the player already and wait for the code."""
    issued = bench.issue("p1", "p2")
    told = [quoting(code.code, f"tx-{code.player_id}", code.player_id or "") for code in issued]
    ids = tell.record(bench.ledger, told, bench.clock())
    falls_back, judged = threading.Event(), threading.Event()
    broken: list[str] = []

    def after(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM codes" in statement and "FOR UPDATE" in statement and not falls_back.is_set():
            falls_back.set()
            judged.wait(1)  # it cannot come to its end meanwhile; as far as it comes is enough

    def judge() -> None:
        falls_back.wait(10)
        bench.judge(*ids)
        judged.set()

    desk, _ = popup_desk(bench, loop, lambda _: Rejected("410", address_dead=True), slots=1)
    event.listen(bench.ledger.engine, "after_cursor_execute", after)
    event.listen(bench.ledger.engine, "handle_error", lambda context: broken.append(str(context.original_exception)))
    with ThreadPoolExecutor(1) as pool:
        judging = pool.submit(judge)
        deliver(desk, "popup", planned(bench, "popup"))
        judging.result(20)

    assert broken == []
    assert [delivery(bench, one).state for one in planned(bench, "popup")] == ["rejected", "rejected"]
    with bench.ledger.read() as conn:
        assert [deposit.result for deposit in deposits.of_player(conn, "p1")] == ["accepted"]
