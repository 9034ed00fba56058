"""A batch of deposits is judged as its deposits would be one after another, and written once."""

from __future__ import annotations

import pytest
from sqlalchemy import event

from promocast import jobs
from promocast.flows import show, tell
from promocast.ledger import Ledger, audit, events
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.test_races import quoting
from tests.flows.test_verify import budgeted, code_of, told

EXTERNAL = CAMPAIGN.replace('name = "Welcome deposit"', "allow_external_codes = true").replace(
    'valid_for = "7d"', 'valid_for = "7d"\nmax_redemptions = 3'
)


def record(bench: Bench, *messages: dict[str, object]) -> list[str]:
    return tell.record(bench.ledger, [jobs.read_deposit(message) for message in messages], bench.clock())


def statements(ledger: Ledger) -> list[str]:
    """Those that are executed from now on."""
    seen: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    return seen


def test_what_a_rollback_gives_back_another_deposit_of_the_batch_takes(bench: Bench) -> None:
    bench.apply(budgeted(redemptions=1).replace('valid_for = "7d"', 'valid_for = "7d"\nholder_only = false'))
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)
    bench.clock.advance(1)

    record(bench, told("tx-1", "p1", status="rolled_back"), told("tx-2", "p2", promo_code=code.code))
    verdicts = bench.judge("tx-2", "tx-1")

    assert {i: verdict["result"] for i, verdict in verdicts.items()} == {"tx-1": "rolled_back", "tx-2": "accepted"}
    assert code_of(bench, code.id).redeemed == 1
    with bench.ledger.read() as conn:
        told_of = [(type_, data["deposit_id"]) for type_, _, data in events.of_code(conn, code.id)]
        assert audit.violations(conn) == []
    assert told_of == [("code.redeemed", "tx-1"), ("code.rolled_back", "tx-1"), ("code.redeemed", "tx-2")]


def test_an_external_code_is_its_first_depositors_for_the_rest_of_the_batch(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    code = show.saved(bench.ledger, "CRM-77", bench.clock(), versions=bench.versions, ring=bench.ring)
    bench.clock.advance(1_000)

    ids = record(
        bench,
        told("tx-1", "p1", promo_code="CRM-77"),
        told("tx-2", "p2", promo_code="CRM-77"),
        told("tx-3", "p1"),
    )
    verdicts = bench.judge(*ids)

    assert [verdicts[i]["reason"] or verdicts[i]["result"] for i in ids] == ["accepted", "other_player", "accepted"]
    assert (code_of(bench, code.id).player_id, code_of(bench, code.id).redeemed) == ("p1", 2)


def test_one_code_redeemed_twice_in_a_batch_counts_twice_and_calls_twice(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "7d"\nmax_redemptions = 2'))
    [code] = bench.issue("p1")

    ids = record(bench, *(told(f"tx-{i}", "p1", promo_code=code.code) for i in range(3)))
    verdicts = bench.judge(*ids)

    assert [verdicts[i]["reason"] or verdicts[i]["result"] for i in ids] == ["accepted", "accepted", "limit_reached"]
    assert code_of(bench, code.id).redeemed == 2
    [calls] = [ids for queue, ids in bench.rung if queue == "deliver.call"]
    assert len(calls) == 2


@pytest.mark.parametrize("size", [1, 40])
def test_a_batch_takes_as_many_statements_as_one_deposit(bench: Bench, size: int) -> None:
    bench.apply(budgeted())
    issued = bench.issue(*(f"p{i}" for i in range(size)))
    ids = tell.record(
        bench.ledger, [quoting(code.code, f"tx{code.id}", code.player_id or "") for code in issued], bench.clock()
    )
    seen = statements(bench.ledger)

    bench.judge(*ids)

    assert len([sql for sql in seen if not sql.startswith("BEGIN")]) <= 13
