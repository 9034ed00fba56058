"""Backtest: what an edit would have made of what was judged; and what nothing was edited in comes out as it was."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from promocast import jobs
from promocast.campaign.backtest import Account
from promocast.campaign.document import Campaign
from promocast.campaign.edit import Edit
from promocast.campaign.judging import Compared, Outcome
from promocast.campaign.terms import Budget
from promocast.errors import UnknownCampaign
from promocast.flows import backtest as flow
from promocast.flows import revoke, show, tell, verify
from promocast.flows.backtest import Result
from promocast.flows.past import Period
from promocast.ledger import Ledger, deposits, history, migrate, players, schema
from promocast.ledger.players import Player
from promocast.model import DAY, HOUR, MINUTE, system_clock
from tests.conftest import NOW, StoppedClock
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.history import RIVAL, History, welcome

ALWAYS_STARTED = 'starts_at = "2020-01-01T00:00:00Z"\n'


def backtest(
    bench: Bench, edited: str | Campaign, since: int = 0, until: int | None = None
) -> tuple[Result, dict[str, Compared]]:
    bench.clock.advance(1)
    found: list[Compared] = []
    result = flow.backtest(
        bench.ledger,
        bench.parse(edited) if isinstance(edited, str) else edited,
        Period(since, bench.clock() if until is None else until),
        versions=bench.versions,
        terms=bench.terms,
        each=found.append,
    )
    by_id = {compared.deposit.deposit_id: compared for compared in found}
    assert len(by_id) == len(found)
    return result, by_id


def verdicts(bench: Bench, deposit_ids: list[str]) -> dict[str, Outcome]:
    with bench.ledger.read() as conn:
        known = deposits.by_ids(conn, deposit_ids)
    fields = ("result", "code", "campaign", "reason", "reward")
    return {i: Outcome(**{name: (known[i].verdict or {})[name] for name in fields}) for i in deposit_ids}


def exclude(bench: Bench, player_id: str) -> None:
    with bench.ledger.begin() as conn:
        players.put(conn, Player(player_id, None, None, {}, [{"type": "Excluded", "active": True}]), bench.clock())


def save(bench: Bench, text: str, player_id: str | None = None) -> None:
    show.saved(bench.ledger, text, bench.clock(), versions=bench.versions, ring=bench.ring, player_id=player_id)


def dump(bench: Bench) -> dict[str, list[Any]]:
    """Every row of every table."""
    with bench.ledger.read() as conn:
        tables = schema.metadata.sorted_tables
        return {table.name: sorted(map(tuple, conn.execute(select(table))), key=repr) for table in tables}


# Nothing edited


@pytest.mark.parametrize("seed", range(2))
def test_the_campaign_in_force_reproduces_every_verdict_of_a_hard_history(bench: Bench, seed: int) -> None:
    past = History(bench, random.Random(seed))
    past.play(80)
    since = bench.clock()
    past.play(240)
    before = dump(bench)

    for document in (welcome(past.version), ALWAYS_STARTED + welcome(past.version)):
        result, found = backtest(bench, document, since)

        assert result.replay.not_reproduced == []
        assert [compared for compared in found.values() if compared.before != compared.after] == []
        assert {i: compared.before for i, compared in found.items()} == verdicts(bench, list(found))
        results = {compared.before.result for compared in found.values()}
        assert results == {"accepted", "refused", "no_code", "rolled_back"}
        with bench.ledger.read() as conn:
            spent = history.spent(conn, bench.clock())
        recorded = result.replay.recorded.spent
        assert {key: units for key, units in recorded.items() if units} == {k: v for k, v in spent.items() if v}
        assert result.replay.difference == Account()
    assert dump(bench) == before


def test_a_code_is_whose_it_was_then(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    save(bench, "CRM-77")
    bench.deposit("tx-1", promo_code="CRM-77", amount="1.00")
    bench.deposit("tx-2", player_id="p2")
    bench.clock.advance(1)
    save(bench, "CRM-77", "p2")
    bench.deposit("tx-3", promo_code="CRM-77")
    bench.clock.advance(1)
    bench.deposit("tx-4", player_id="p2")

    result, found = backtest(bench, ALWAYS_STARTED + EXTERNAL)

    results = {i: one.after.reason or one.after.result for i, one in found.items()}
    assert results == {"tx-1": "below_minimum", "tx-2": "no_code", "tx-3": "other_player", "tx-4": "accepted"}
    assert (result.replay.not_reproduced, changed(found)) == ([], {})


def test_a_code_that_was_shown_later_had_not_begun_to_end(bench: Bench) -> None:
    shortly = with_code('valid_for = "1m"\nvalid_from = "shown"')
    bench.apply(shortly)
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code, occurred_at="2026-11-24T10:04:00Z")
    bench.clock.advance(MINUTE)
    save(bench, code.code)

    result, found = backtest(bench, ALWAYS_STARTED + shortly)

    assert found["tx-1"].after.result == "accepted"
    assert (result.replay.not_reproduced, changed(found)) == ([], {})


# An edit


REWARD = '\n[reward]\npercent = "50"\n'
REWARDED = CAMPAIGN + REWARD
EXTERNAL = REWARDED.replace('name = "Welcome deposit"', "allow_external_codes = true")


def with_redemption(line: str, document: str = REWARDED) -> str:
    return document.replace("[redemption]", f"[redemption]\n{line}")


def with_code(line: str, document: str = REWARDED) -> str:
    return document.replace('valid_for = "7d"', line)


def changed(found: dict[str, Compared]) -> dict[str, tuple[str, str]]:
    """{deposit: (reason or result before, after)} of those that change."""
    return {
        i: (one.before.reason or one.before.result, one.after.reason or one.after.result)
        for i, one in found.items()
        if one.before != one.after
    }


@pytest.fixture
def rewarding(bench: Bench) -> Bench:
    """A bench with a campaign that gives half of a deposit."""
    bench.apply(REWARDED)
    return bench


def test_a_lower_minimum_accepts_what_was_refused_with_its_reward(rewarding: Bench) -> None:
    [code] = rewarding.issue("p1")
    rewarding.deposit("tx-1", amount="14.99", promo_code=code.code)
    rewarding.deposit("tx-2", amount="15.00", promo_code=code.code)
    before = dump(rewarding)

    result, found = backtest(rewarding, REWARDED.replace('EUR = "20.00"', 'EUR = "15.00"'))

    assert changed(found) == {"tx-2": ("below_minimum", "accepted")}
    reward = {"type": "percent", "amount": "7.50", "currency": "EUR"}
    assert found["tx-2"].after == Outcome("accepted", code.code, "welcome", None, reward)
    told = result.as_json(10)
    assert told["edited"] == ["redemption.min_deposit"]
    assert told["accepted"] == {"before": 0, "after": 1}
    assert told["rewards"] == {"EUR": {"before": "0.00", "after": "7.50", "difference": "7.50"}}
    assert told["reasons"] == {"below_minimum": {"before": 2, "after": 1}}
    [gains] = told["players"]["gain"]["most"]
    assert gains == {
        "player_id": "p1",
        "unit": "EUR",
        "accepted": {"before": 0, "after": 1},
        "reward": {"before": "0.00", "after": "7.50"},
    }
    assert dump(rewarding) == before


def test_a_code_that_is_redeemed_sooner_is_used_up_for_whoever_redeemed_it(rewarding: Bench) -> None:
    [code] = rewarding.issue("p1")
    rewarding.deposit("tx-1", amount="15.00", promo_code=code.code)
    rewarding.deposit("tx-2", amount="50.00", promo_code=code.code)

    result, found = backtest(rewarding, REWARDED.replace('EUR = "20.00"', 'EUR = "15.00"'))

    assert changed(found) == {"tx-1": ("below_minimum", "accepted"), "tx-2": ("accepted", "already_redeemed")}
    told = result.as_json(10)
    assert told["rewards"]["EUR"] == {"before": "25.00", "after": "7.50", "difference": "-17.50"}
    assert told["changes"] == {"gained": 1, "lost": 1, "reward": 0, "code": 0, "refusal": 0}
    assert told["players"]["lose"]["most"][0]["accepted"] == {"before": 1, "after": 1}


def test_what_was_undone_gives_back_what_it_took_under_the_edit(rewarding: Bench) -> None:
    [code] = rewarding.issue("p1")
    steps: list[tuple[str, dict[str, Any]]] = [
        ("tx-1", {"amount": "15.00"}),
        ("tx-2", {"amount": "16.00"}),
        ("tx-1", {"status": "cancelled"}),
        ("tx-3", {"amount": "17.00"}),
    ]
    for deposit_id, facts in steps:
        rewarding.deposit(deposit_id, promo_code=code.code, **facts)
        rewarding.clock.advance(MINUTE)

    _, found = backtest(rewarding, REWARDED.replace('EUR = "20.00"', 'EUR = "15.00"'))

    assert changed(found) == {"tx-2": ("below_minimum", "already_redeemed"), "tx-3": ("below_minimum", "accepted")}
    assert found["tx-1"].after == Outcome("rolled_back", code.code, "welcome")


def test_what_the_edit_refuses_keeps_its_code_when_it_is_undone(rewarding: Bench) -> None:
    rewarding.issue("p1", request_id="r-1")
    rewarding.clock.advance(MINUTE)
    newer = rewarding.issue("p1", request_id="r-2")[0]
    rewarding.deposit("tx-1", amount="20.00")
    revoke.revoke(
        rewarding.ledger,
        newer.code,
        rewarding.clock(),
        by="somebody",
        versions=rewarding.versions,
        ring=rewarding.ring,
    )
    rewarding.deposit("tx-1", status="cancelled")

    _, found = backtest(rewarding, REWARDED.replace('EUR = "20.00"', 'EUR = "25.00"'))

    assert found["tx-1"].after == Outcome("rolled_back", newer.code, "welcome")


def test_of_a_smaller_budget_the_later_ones_get_nothing_until_something_is_given_back(rewarding: Bench) -> None:
    holders = [f"p{number}" for number in range(5)]
    by_holder = {code.player_id: code.code for code in rewarding.issue(*holders)}
    for number, holder in enumerate(holders):
        if number == 3:
            rewarding.deposit("tx-0", player_id="p0", status="rolled_back")
        rewarding.deposit(f"tx-{number}", player_id=holder, promo_code=by_holder[holder])
        rewarding.clock.advance(MINUTE)

    result, found = backtest(rewarding, with_redemption('budget = { redemptions = 3, amount = { EUR = "55.00" } }'))

    assert changed(found) == {"tx-2": ("accepted", "budget_exhausted"), "tx-4": ("accepted", "budget_exhausted")}
    assert result.as_json(10)["budget"] == {
        "redemptions": {"limit": {"before": None, "after": 3}, "used": {"before": 4, "after": 2}},
        "EUR": {"limit": {"before": None, "after": "55.00"}, "used": {"before": "100.00", "after": "50.00"}},
    }


def test_a_limit_per_player_takes_the_later_ones_and_not_what_was_undone(rewarding: Bench) -> None:
    issued = [rewarding.issue("p1", request_id=f"r-{number}")[0] for number in range(3)]
    rewarding.deposit("tx-0", promo_code=issued[0].code)
    rewarding.deposit("tx-1", promo_code=issued[1].code)
    for deposit_id in ("tx-0", "tx-1"):
        rewarding.clock.advance(MINUTE)
        rewarding.deposit(deposit_id, status="rolled_back")
    rewarding.deposit("tx-2", promo_code=issued[2].code)

    _, found = backtest(rewarding, with_redemption("per_player = 1"))

    assert changed(found) == {}, "what is undone in the end is undone in either case"

    third = rewarding.issue("p1", request_id="r-3")[0]
    rewarding.deposit("tx-3", promo_code=third.code)
    _, found = backtest(rewarding, with_redemption("per_player = 1"))

    assert changed(found) == {"tx-3": ("accepted", "limit_reached")}


def test_a_code_for_two_redemptions_accepts_the_second(rewarding: Bench) -> None:
    [code] = rewarding.issue("p1")
    for deposit_id in ("tx-1", "tx-2", "tx-3"):
        rewarding.deposit(deposit_id, promo_code=code.code)

    _, found = backtest(rewarding, with_code('valid_for = "7d"\nmax_redemptions = 2'))

    assert changed(found) == {"tx-2": ("already_redeemed", "accepted"), "tx-3": ("already_redeemed", "limit_reached")}


def test_another_reward_changes_what_the_accepted_ones_cost(rewarding: Bench) -> None:
    first, second = rewarding.issue("p1", "p2")
    rewarding.deposit("tx-1", promo_code=first.code)
    rewarding.deposit("tx-2", player_id="p2", promo_code=second.code, amount="30.00", currency="USD")

    result, found = backtest(rewarding, CAMPAIGN + '\n[reward]\npercent = "100"\nmax = { EUR = "40.00" }\n')

    assert result.as_json(10)["changes"]["reward"] == 2
    assert result.as_json(10)["rewards"] == {
        "EUR": {"before": "25.00", "after": "40.00", "difference": "15.00"},
        "USD": {"before": "15.00", "after": "30.00", "difference": "15.00"},
    }
    assert {one.after.result for one in found.values()} == {"accepted"}


def test_ends_of_codes_are_computed_anew_from_their_anchors(rewarding: Bench) -> None:
    [code] = rewarding.issue("p1")
    rewarding.clock.advance(DAY)
    show.saved(rewarding.ledger, code.code, rewarding.clock(), versions=rewarding.versions, ring=rewarding.ring)
    with rewarding.ledger.begin() as conn:
        conn.execute(update(schema.deliveries).values(sent_at=rewarding.clock() - HOUR, state="sent", due_at=None))
    rewarding.deposit("tx-1", promo_code=code.code, amount="1.00")
    rewarding.clock.advance(6 * DAY)
    rewarding.deposit("tx-2", promo_code=code.code)

    ends = {
        anchor: changed(backtest(rewarding, with_code(f'valid_for = "6d"\nvalid_from = "{anchor}"'))[1])
        for anchor in ("issued", "sent", "shown")
    }
    _, later = backtest(rewarding, with_code('valid_for = "7d"\nvalid_from = "shown"'))

    assert ends == {"issued": {}, "sent": {}, "shown": {}}
    assert changed(later) == {"tx-2": ("expired", "accepted")}


def test_deposits_that_had_no_code_get_one_where_the_edit_lets_them(bench: Bench) -> None:
    by_code_only = with_redemption('match = ["code"]')
    bench.apply(by_code_only)
    [code] = bench.issue("p1")
    bench.deposit("tx-1")
    bench.clock.advance(1)
    exclude(bench, "p1")
    bench.deposit("tx-2", amount="60.00")

    _, found = backtest(bench, REWARDED)

    assert changed(found) == {"tx-1": ("no_code", "accepted")}
    assert found["tx-1"].after.code == code.code

    _, found = backtest(bench, with_code('valid_for = "7d"\nmax_redemptions = 2'))

    assert changed(found)["tx-2"] == ("no_code", "player_excluded"), "that they were excluded then is on record"


def test_what_an_edit_cannot_change_stays(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    revoked, excluded, late = bench.issue("p1", "p2", "p3")
    revoke.revoke(bench.ledger, revoked.code, bench.clock(), versions=bench.versions, ring=bench.ring, by="somebody")
    exclude(bench, "p2")
    bench.deposit("tx-1", promo_code=revoked.code)
    bench.deposit("tx-2", player_id="p2", promo_code=excluded.code)
    bench.deposit("tx-3", player_id="p3", promo_code="CRM-77")
    bench.clock.advance(10 * MINUTE)
    bench.judge("tx-3")
    save(bench, "CRM-77", "p3")
    for number in range(6):
        bench.deposit(f"tx-4{number}", player_id="p4", promo_code=f"NOSUCH{number}")
    exclude(bench, "p3")
    assert late.player_id == "p3"

    _, found = backtest(bench, with_code("max_redemptions = 9", EXTERNAL))

    assert changed(found) == {}
    reasons = {one.after.reason for one in found.values()}
    assert reasons == {"revoked", "player_excluded", "unknown_code", "too_many_attempts"}


def test_a_code_that_is_anybodys_is_no_guess(rewarding: Bench) -> None:
    issued = rewarding.issue(*(f"p{number}" for number in range(2, 9)))
    for code in issued:
        rewarding.deposit(f"tx-{code.player_id}", promo_code=code.code)
        rewarding.clock.advance(1)

    _, found = backtest(rewarding, with_code('valid_for = "7d"\nholder_only = false'))

    assert list(changed(found).values()) == [("other_player", "accepted")] * 5 + [("too_many_attempts", "accepted")] * 2


def test_a_code_of_another_campaign_steps_in_and_is_gone_for_the_next_deposit(rewarding: Bench) -> None:
    rewarding.apply(RIVAL.replace("budget", "# budget"))
    [rivals] = rewarding.issue("p1", request_id="r-1", campaign="rival")
    rewarding.clock.advance(MINUTE)
    [own] = rewarding.issue("p1", request_id="r-2")
    rewarding.deposit("tx-1")
    rewarding.clock.advance(1)
    rewarding.deposit("tx-2")

    result, found = backtest(rewarding, REWARDED.replace('EUR = "20.00"', 'EUR = "60.00"'))

    assert {i: (one.before.code, one.after.code) for i, one in found.items()} == {
        "tx-1": (own.code, rivals.code),
        "tx-2": (rivals.code, own.code),
    }
    assert changed(found)["tx-2"] == ("accepted", "below_minimum")
    told = result.as_json(10)
    assert told["accepted"] == {"before": 1, "after": 0}
    assert told["other_campaigns"]["rival"]["accepted"] == {"before": 1, "after": 1}
    assert told["changes"] == {"gained": 0, "lost": 1, "reward": 1, "code": 0, "refusal": 0}


def test_a_code_that_is_nobodys_goes_to_whoever_redeems_it_under_the_edit(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    save(bench, "CRM-77")
    bench.deposit("tx-1", promo_code="CRM-77", amount="20.00")
    bench.deposit("tx-1", status="rolled_back")
    bench.clock.advance(1)
    bench.deposit("tx-2", player_id="p2", promo_code="CRM-77")
    bench.clock.advance(1)
    bench.deposit("tx-3", player_id="p2")

    _, found = backtest(bench, EXTERNAL.replace('EUR = "20.00"', 'EUR = "21.00"'))

    assert changed(found) == {"tx-2": ("other_player", "accepted")}

    unquoted = with_code('valid_for = "7d"\nmax_redemptions = 2', EXTERNAL).replace('EUR = "20.00"', 'EUR = "21.00"')
    _, found = backtest(bench, unquoted)

    assert changed(found) == {"tx-2": ("other_player", "accepted"), "tx-3": ("no_code", "accepted")}


EDITS: dict[str, dict[str, Any]] = {
    "min_deposit": {"min_deposit": {"EUR": "12.00", "USD": "12.00", "GBP": "12.00"}},
    "per_player": {"per_player": 1},
    "budget": {"budget": Budget(redemptions=6)},
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_comes_out_as_if_it_had_been_in_force(bench: Bench, name: str, tmp_path: Path) -> None:
    """The same history is played twice, the second time with the edit in force; its codes have the same ids."""
    past = History(bench, random.Random(6), plain=True)
    past.play(160)
    in_force = bench.parse(welcome(past.version))
    edited = in_force.model_copy(update={"redemption": in_force.redemption.model_copy(update=EDITS[name])})
    edit = Edit.between(in_force, edited)

    _, found = backtest(bench, edited)
    expected = comparable(bench, {i: one.after for i, one in found.items()})
    before = comparable(bench, {i: one.before for i, one in found.items()})
    other = Ledger(f"sqlite:///{tmp_path}/other.sqlite3")
    migrate.upgrade(other, os.urandom, NOW)
    again = Bench(other, StoppedClock())
    again.apply(CAMPAIGN)
    History(again, random.Random(6), edit=edit, plain=True).play(160)

    assert comparable(again, verdicts(again, list(found))) == expected
    assert len(expected.items() - before.items()) >= 10
    other.close()


def comparable(bench: Bench, outcomes: dict[str, Outcome]) -> dict[str, str]:
    """The outcomes, with the code's id for its text."""
    with bench.ledger.read() as conn:
        ids = {row.code: row.id for row in conn.execute(select(schema.codes.c.code, schema.codes.c.id))}
        first = min(ids.values())
    found = {}
    for deposit_id, outcome in outcomes.items():
        code = None if outcome.code is None else str(ids[outcome.code] - first)
        found[deposit_id] = repr(replace(outcome, code=code))
    return found


# Periods and versions


def test_what_was_redeemed_before_the_period_counts_until_it_is_given_back(bench: Bench) -> None:
    budgeted = with_redemption('budget = { amount = { EUR = "60.00" } }')
    bench.apply(budgeted)
    first, second, third = bench.issue("p1", "p2", "p3")
    bench.deposit("tx-1", promo_code=first.code)
    since = bench.clock.advance(HOUR)
    bench.deposit("tx-2", player_id="p2", promo_code=second.code)
    bench.deposit("tx-1", status="rolled_back")
    bench.deposit("tx-3", player_id="p3", promo_code=third.code)

    result, found = backtest(bench, budgeted.replace('"60.00"', '"49.99"'), since)

    assert changed(found) == {"tx-2": ("accepted", "budget_exhausted")}
    assert found.keys() == {"tx-2", "tx-3"}
    assert result.as_json(10)["budget"]["EUR"]["used"] == {"before": "50.00", "after": "25.00"}


def test_a_period_ends_before_what_came_later(rewarding: Bench) -> None:
    first, second = rewarding.issue("p1", "p2")
    rewarding.deposit("tx-1", promo_code=first.code)
    until = rewarding.clock.advance(HOUR)
    rewarding.deposit("tx-1", status="rolled_back")
    rewarding.deposit("tx-2", player_id="p2", promo_code=second.code)

    _, found = backtest(rewarding, REWARDED, until=until)

    assert {i: one.after.result for i, one in found.items()} == {"tx-1": "accepted"}


def test_what_the_edit_leaves_alone_stays_as_every_version_had_it(bench: Bench) -> None:
    bench.apply(REWARDED.replace('EUR = "20.00"', 'EUR = "10.00"'))
    [older] = bench.issue("p1", request_id="r-1")
    bench.clock.advance(MINUTE)
    bench.apply(REWARDED)
    [newer] = bench.issue("p1", request_id="r-2")
    bench.deposit("tx-1", promo_code=older.code, amount="10.00")
    bench.deposit("tx-2", promo_code=newer.code, amount="10.00")

    _, found = backtest(bench, REWARDED.replace('"50"', '"10"'))

    assert changed(found) == {"tx-1": ("accepted", "accepted")}
    assert found["tx-1"].after.reward == {"type": "percent", "amount": "1.00", "currency": "EUR"}
    assert found["tx-2"].after.reason == "below_minimum"


def test_a_campaign_that_was_never_applied_has_no_past(bench: Bench) -> None:
    with pytest.raises(UnknownCampaign):
        backtest(bench, RIVAL)


# Many at once


class RunningClock(StoppedClock):
    def __call__(self) -> int:
        return system_clock()


def test_judgings_of_many_at_once_are_reproduced(ledger: Ledger) -> None:
    bench = Bench(ledger, RunningClock())
    document = with_redemption('budget = { amount = { EUR = "100.00" } }')
    bench.apply(document)
    for number in range(2):
        bench.issue("p1", "p2", "p3", request_id=f"r-{number}")
    gate = threading.Barrier(6)

    def deposit(seed: int) -> None:
        chance = random.Random(seed)
        gate.wait()
        for number in range(20):
            deposit_id, holder = f"tx-{seed}-{number}", chance.choice(("p1", "p2", "p3"))
            bench.deposit(deposit_id, player_id=holder)
            if chance.random() < 0.6:
                bench.deposit(deposit_id, player_id=holder, status="rolled_back")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(deposit, range(6)))

    result, found = backtest(bench, ALWAYS_STARTED + document)

    assert len(found) == 120
    assert {one.before.reason or one.before.result for one in found.values()} >= {"no_code", "rolled_back"}
    assert result.replay.not_reproduced == []
    assert changed(found) == {}


def test_the_time_of_a_judging_is_taken_when_all_is_held(bench: Bench) -> None:
    """Else of two deposits at once, the one that had to wait for the other could have the earlier time."""
    if bench.ledger.dialect == "sqlite":
        pytest.skip("whoever writes to SQLite holds all of it")
    bench.issue("p1")
    told = jobs.read_deposit(
        {"deposit_id": "tx-1", "player_id": "p1", "amount": "50.00", "currency": "EUR", "status": "approved"}
    )
    tell.record(bench.ledger, [told], bench.clock())
    held: list[int] = []

    def clock() -> int:
        with bench.ledger.read() as conn:
            held.append(conn.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar_one())
        return bench.clock()

    verify.judge(bench.ledger, ["tx-1"], versions=bench.versions, terms=bench.terms, clock=clock, ring=bench.ring)

    assert held == [1]
