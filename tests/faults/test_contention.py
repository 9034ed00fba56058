"""Eight processes of eight threads judge deposits at one moment: codes and budgets give what they have, to the unit."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from promocast import jobs
from promocast.flows import tell
from promocast.ledger import Ledger, audit, budgets
from promocast.ledger.codes import Code
from tests.conftest import StoppedClock
from tests.faults.conftest import FULL, full
from tests.faults.judges import Judged, Judges, judges
from tests.flows.conftest import CAMPAIGN, Bench

ROUNDS = full(5, 1)
AT_ONCE = 64
ANYBODYS = 'valid_for = "7d"\nholder_only = false\nmax_redemptions = {}'


@pytest.fixture(scope="module")
def crowd() -> Iterator[Judges]:
    with judges() as ready:
        yield ready


@pytest.fixture
def bench(ledger: Ledger, clock: StoppedClock) -> Bench:
    return Bench(ledger, clock)


def campaign(name: str, *, limit: int = 1, budget: str = "") -> str:
    """The campaign of the flows' tests under a name of its own, with a reward of 50.00 for a deposit of 50.00."""
    terms = f"[redemption]\nbudget = {{ {budget} }}" if budget else "[redemption]"
    source = CAMPAIGN.replace('id = "welcome"', f'id = "{name}"').replace("[redemption]", terms)
    return source.replace('valid_for = "7d"', ANYBODYS.format(limit)) + '\n[reward]\npercent = "100"\n'


def issued(bench: Bench, name: str, count: int) -> list[Code]:
    """A code for each of as many players."""
    players = [f"{name}-{i}" for i in range(count)]
    return [
        code
        for first in range(0, count, 500)
        for code in bench.issue(*players[first : first + 500], request_id=f"{name}-{first}", campaign=name)
    ]


def told(bench: Bench, name: str, quoted: list[Code]) -> list[str]:
    """Deposits recorded, one for each of the quoted codes; every second one of the same player as the one before."""
    facts = {"amount": "50.00", "currency": "EUR", "status": "approved"}
    messages = [
        jobs.read_deposit(
            {"deposit_id": f"{name}-{i}", "player_id": f"{name}-{i - i % 2}", "promo_code": code.code, **facts}
        )
        for i, code in enumerate(quoted)
    ]
    return [i for first in range(0, len(messages), 500) for i in _record(bench, messages[first : first + 500])]


def _record(bench: Bench, messages: list[jobs.Deposit]) -> list[str]:
    return tell.record(bench.ledger, messages, bench.clock())


def reckoned(bench: Bench, url: str, what: str, rounds: list[Judged]) -> None:
    """Print the figures; nothing failed, and the books balance."""
    verdicts = [dict(judged.verdicts) for judged in rounds]
    times = ", ".join(f"{judged.seconds:.1f}" for judged in rounds)
    failures = sum((judged.failures for judged in rounds), start=type(rounds[0].failures)())
    print(f"\n{bench.ledger.dialect}: {what}: {verdicts} in {times} s; failures: {dict(failures) or 'none'}")
    assert failures == {}, url
    with bench.ledger.read() as conn:
        assert audit.violations(conn) == []


@pytest.mark.parametrize("limit", [1, 10])
def test_a_code_is_redeemed_as_often_as_it_may_be(bench: Bench, ledger_url: str, crowd: Judges, limit: int) -> None:
    rounds = []
    for number in range(ROUNDS):
        name = f"code-{number}"
        bench.apply(campaign(name, limit=limit))
        [code] = issued(bench, name, 1)
        ids = told(bench, name, [code] * AT_ONCE)
        rounds.append(crowd.judge(ledger_url, [[deposit_id] for deposit_id in ids], bench.clock()))
    used_up = "already_redeemed" if limit == 1 else "limit_reached"
    reckoned(bench, ledger_url, f"a code of {limit}, {AT_ONCE} deposits", rounds)
    assert [judged.verdicts for judged in rounds] == [{"accepted": limit, used_up: AT_ONCE - limit}] * ROUNDS


@pytest.mark.parametrize("budget", ["redemptions = 300", 'amount = { EUR = "15000.00" }'], ids=["count", "money"])
def test_a_budget_is_spent_to_the_last_unit(bench: Bench, ledger_url: str, crowd: Judges, budget: str) -> None:
    rounds = []
    for number in range(ROUNDS):
        name = f"budget-{number}"
        bench.apply(campaign(name, budget=budget))
        ids = told(bench, name, issued(bench, name, 360))
        rounds.append(crowd.judge(ledger_url, [[deposit_id] for deposit_id in ids], bench.clock()))
        with bench.ledger.read() as conn:
            [left] = budgets.of_campaign(conn, name).values()
        assert left == (300 if "redemptions" in budget else 1_500_000)
    reckoned(bench, ledger_url, f"a budget of 300 by {budget.partition(' ')[0]}, 360 deposits", rounds)
    assert [judged.verdicts for judged in rounds] == [{"accepted": 300, "budget_exhausted": 60}] * ROUNDS


@pytest.mark.skipif(not FULL, reason="a minute; FAULT_FULL=1 runs it")
@pytest.mark.timeout(900)
def test_a_budget_of_ten_thousand_is_spent_to_the_last_redemption(
    bench: Bench, ledger_url: str, crowd: Judges, chance: random.Random
) -> None:
    bench.apply(campaign("large", budget="redemptions = 10_000"))
    ids = told(bench, "large", issued(bench, "large", 12_000))
    chance.shuffle(ids)
    lots = []
    while ids:
        size = chance.randint(1, 20)
        lots.append(ids[:size])
        ids = ids[size:]
    judged = crowd.judge(ledger_url, lots, bench.clock())
    reckoned(bench, ledger_url, f"a budget of 10000, 12000 deposits in {len(lots)} lots", [judged])
    assert judged.verdicts == {"accepted": 10_000, "budget_exhausted": 2_000}
