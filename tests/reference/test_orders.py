"""What any order means (contract section 4.10), and what holds always, whatever is done."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from promocast.ledger import Ledger, audit, budgets, codes, deposits, schema, story
from promocast.ledger.deposits import Recorded
from promocast.model import MINUTE, SECOND
from tests.conftest import StoppedClock
from tests.reference import history
from tests.reference.campaigns import PLAIN
from tests.reference.conftest import emptied, profile
from tests.reference.history import Entry
from tests.reference.table import Table, moment_of, nth_code

STATUSES = ("requested", "approved", "rejected", "cancelled", "rolled_back")
UNDONE = {"rejected", "cancelled", "rolled_back"}
OPEN = PLAIN | {"external": False, "reward": {"percent": Decimal(50)}}
# What the others quarrel about: a code that anybody may redeem twice, and a budget for less than all of them.
QUARREL = OPEN | {
    "holder_only": False,
    "max_redemptions": 2,
    "per_player": 2,
    "budget_redemptions": 3,
    "budget_amount": {"EUR": Decimal(60)},
}


def told(table: Table, deposit: str, player: str, status: str, quote: str | None, amount: int = 40) -> Entry:
    facts = {"amount": Decimal(amount), "currency": "EUR", "method": None, "index": None, "quote": quote}
    at = moment_of(table.clock()) - timedelta(seconds=1)
    return {"id": deposit, "player": player, "status": status, "occurred_at": at, **facts}


def end_of(table: Table, deposit: str, code: str) -> tuple[Any, ...]:
    """All that is kept of a deposit and its code, but for when."""
    with table.ledger.read() as conn:
        known, found = deposits.get(conn, deposit), codes.by_folded(conn, [code])
        verdict = (known.verdict if known else None) or {}
        [summary] = story.summaries(conn, list(found.values()), table.clock())
    standing = [r["deposit_id"] for r in summary["redemptions"] if r["rolled_back_at"] is None]
    said = [verdict.get(name) for name in ("result", "code", "campaign", "reason", "reward", "near_miss")]
    return *said, summary["status"], summary["player_id"], standing, summary["shown_at"] is not None


def expected_end(told: set[str], code: str) -> tuple[Any, ...]:
    """The one end of a deposit that quotes its player's code, from what was told of both."""
    statuses, shown = told & set(STATUSES), "shown" in told
    reward = {"type": "percent", "amount": "20.00", "currency": "EUR"}
    if "approved" in statuses and not statuses & UNDONE:
        return "accepted", code, "own", None, reward, None, "redeemed", "p1", ["tx-own"], shown
    if "approved" in statuses:
        return "rolled_back", code, "own", None, None, None, "issued", "p1", [], shown
    reason = "not_approved" if statuses & UNDONE else None
    return "refused" if reason else "pending", None, None, reason, None, None, "issued", "p1", [], shown


class Desk(RuleBasedStateMachine):
    """One recipient's code and one deposit, told in any order within the grace time, beside others who quarrel."""

    ledger: Ledger

    def __init__(self) -> None:
        super().__init__()
        self.table = Table(emptied(self.ledger), StoppedClock())
        self.started = self.table.clock()
        self.table.apply("own", OPEN)
        self.table.apply("quarrel", QUARREL)
        self.own_part_waits = True
        self.said: set[str] = set()
        # The first code is the one that the deposit quotes; it is issued whenever that rule comes.
        self.code = nth_code(0)
        self.table.accept("p1", "own")
        self.own_part = self.table.parts.pop()
        self.table.issued = 1
        for player in ("p2", "p3"):
            self.table.accept(player, "quarrel")
            self.table.issue()

    @rule(seconds=st.integers(0, 30))
    def time_passes(self, seconds: int) -> None:
        still = self.started + 9 * MINUTE - self.table.clock()
        self.table.clock.advance(min(seconds * SECOND, max(0, still)))

    @rule()
    def issue(self) -> None:
        """Issued once, however often it is asked for."""
        self.table.parts, others = [self.own_part], self.table.parts
        number, self.table.issued = self.table.issued, 0
        if self.own_part_waits:
            self.table.issue()
        else:
            self.table.issue_again(self.own_part[0])
        self.table.issued, self.table.parts = number, others
        self.own_part_waits = False

    @rule(player=st.sampled_from([None, "p1"]))
    def show(self, player: str | None) -> None:
        self.table.action(self.code, player)
        self.said.add("shown")

    @rule(status=st.sampled_from(STATUSES[:2] * 3 + STATUSES[2:]), repeated=st.booleans())
    def tell(self, status: str, repeated: bool) -> None:
        message = told(self.table, "tx-own", "p1", status, self.code)
        self.table.tell([message, message] if repeated else [message])
        self.said.add(status)

    @rule(
        number=st.integers(0, 5),
        status=st.sampled_from(STATUSES[1:2] * 4 + STATUSES),
        quote=st.sampled_from([None, nth_code(1), nth_code(2)]),
        amount=st.sampled_from([1, 40, 41]),
    )
    def others_tell(self, number: int, status: str, quote: str | None, amount: int) -> None:
        self.table.tell([told(self.table, f"tx-{number}", f"p{number % 2 + 2}", status, quote, amount)])

    @rule(limit=st.sampled_from([1, 2, 3, None]), money=st.sampled_from([{}, {"EUR": Decimal(41)}]))
    def budget_changes(self, limit: int | None, money: dict[str, Decimal]) -> None:
        self.table.apply("quarrel", QUARREL | {"budget_redemptions": limit, "budget_amount": money})

    @rule()
    def judge(self) -> None:
        self.table.settle()

    @precondition(lambda self: self.said - {"shown"})
    @rule()
    def judge_in_vain(self) -> None:
        """A second worker that was rung for the same."""
        self.table.judge_again(["tx-own"])

    @invariant()
    def the_books_balance(self) -> None:
        with self.table.ledger.read() as conn:
            assert audit.violations(conn) == []
            rows = conn.execute(select(schema.redemptions)).all()
            limits = {row.id: row.max_redemptions for row in conn.execute(select(schema.codes))}
            spent = budgets.of_campaign(conn, "quarrel")
            known = {row.deposit_id: deposits.get(conn, row.deposit_id) for row in rows}
        active = [row for row in rows if row.rolled_back_at is None]
        assert all(count <= limits[code] for code, count in Counter(row.code_id for row in active).items())
        assert all(count == 1 for count in Counter(row.deposit_id for row in rows).values())
        ours = [row for row in active if row.campaign_id == "quarrel"]
        kept = {"": len(ours), "EUR": sum(row.reward_units for row in ours)}
        assert spent == {name: kept[name] for name in spent}
        assert not [row.deposit_id for row in active if is_undone(known[row.deposit_id])]

    def teardown(self) -> None:
        if self.own_part_waits:
            self.issue()
        self.table.settle()
        self.the_books_balance()
        if self.said - {"shown"}:
            assert end_of(self.table, "tx-own", self.code) == expected_end(self.said, self.code)


def is_undone(known: Recorded | None) -> bool:
    """Whether an undoing was told, and judged: until then a redemption stands."""
    assert known is not None
    return bool(UNDONE & known.messages.keys()) and known.result not in (None, "accepted")


def test_every_order_and_repetition_ends_alike_and_the_books_balance(sqlite_ledger: Ledger) -> None:
    machine = type("_Desk", (Desk,), {"ledger": sqlite_ledger})
    run_state_machine_as_test(machine, settings=settings(profile(25, 0.3), stateful_step_count=30))


@pytest.mark.parametrize("at_once", [True, False], ids=["judged at every step", "judged at the end"])
def test_all_orders_of_one_codes_and_one_deposits_life_end_alike(sqlite_ledger: Ledger, *, at_once: bool) -> None:
    """Each order is a life in an empty ledger of its own."""
    lives = [("issue", "shown", "requested", "approved", "rolled_back"), ("issue", "shown", "requested", "approved")]
    for steps in lives:
        for order in permutations(steps):
            end = live(Table(emptied(sqlite_ledger), StoppedClock()), order, at_once=at_once)
            assert end == expected_end(set(order), nth_code(0)), order


def live(table: Table, order: tuple[str, ...], *, at_once: bool) -> tuple[Any, ...]:
    table.apply("own", OPEN)
    table.accept("p1", "own")
    for step in order:
        if step == "issue":
            table.issue()
        elif step == "shown":
            table.action(nth_code(0), "p1")
        else:
            table.tell([told(table, "tx-own", "p1", step, nth_code(0))])
        table.clock.advance(MINUTE)
        if at_once:
            table.settle()
    table.settle()
    assert history.conflicts(table.log) == 0
    return end_of(table, "tx-own", nth_code(0))
