"""Exports: a row for each code and for each deposit, page by page, and nothing held while somebody takes the rows."""

from __future__ import annotations

from typing import Any

import pytest

from promocast import jobs
from promocast.flows import export, revoke, tell
from promocast.flows.export import CODE_COLUMNS, DEPOSIT_COLUMNS, WantedDeposits
from promocast.ledger.exports import Wanted
from promocast.model import DAY, HOUR, SECOND
from tests.flows.conftest import CAMPAIGN, Bench
from tests.flows.test_show import act, save

MATCHED = CAMPAIGN + '\n[reward]\npercent = "50"\n'
THRICE = MATCHED.replace('valid_for = "7d"', 'valid_for = "7d"\nmax_redemptions = 3')
EXTERNAL = CAMPAIGN.replace('id = "welcome"', 'id = "partner"\nallow_external_codes = true')


def codes(bench: Bench, wanted: Wanted | None = None, **how: Any) -> list[dict[str, Any]]:
    return list(export.of_codes(bench.ledger, wanted or Wanted(), bench.clock(), **how))


def deposits(bench: Bench, wanted: WantedDeposits | None = None, **how: Any) -> list[dict[str, Any]]:
    return list(export.of_deposits(bench.ledger, wanted or WantedDeposits(), bench.clock(), bench.terms, **how))


def test_a_code_that_nothing_happened_to_has_a_row_of_what_it_was_issued_with(bench: Bench) -> None:
    [code] = bench.issue("p1")

    [row] = codes(bench)

    assert tuple(row) == CODE_COLUMNS
    issued = {
        "code": code.code,
        "campaign": "welcome",
        "player_id": "p1",
        "request_id": "r-1",
        "status": "issued",
        "issued_at": "2026-11-24T10:00:00Z",
        "expires_at": "2026-12-01T10:00:00Z",
        "redemptions": 0,
    }
    assert row == dict.fromkeys(CODE_COLUMNS) | issued


def test_a_redeemed_code_has_what_it_was_redeemed_by(bench: Bench) -> None:
    bench.apply(MATCHED)
    [code] = bench.issue("p1")
    bench.clock.advance(HOUR)
    act(bench, code.code)
    bench.deposit("tx-1", promo_code=code.code)

    [row] = codes(bench)

    assert (row["status"], row["shown_at"], row["redemptions"]) == ("redeemed", "2026-11-24T11:00:00Z", 1)
    assert (row["amount"], row["currency"], row["deposit_id"]) == ("50.00", "EUR", "tx-1")
    assert row["reward"] == {"type": "percent", "amount": "25.00", "currency": "EUR"}
    assert (row["redeemed_at"], row["rolled_back_at"]) == ("2026-11-24T11:00:00Z", None)


def test_of_several_redemptions_the_newest_active_one_is_told_and_they_are_counted(bench: Bench) -> None:
    bench.apply(THRICE)
    [code] = bench.issue("p1")
    for i, amount in enumerate(("50.00", "60.00", "70.00")):
        bench.clock.advance(HOUR)
        bench.deposit(f"tx-{i}", promo_code=code.code, amount=amount)
    bench.deposit("tx-2", promo_code=code.code, amount="70.00", status="rolled_back")

    [row] = codes(bench)

    assert (row["redemptions"], row["deposit_id"], row["amount"]) == (2, "tx-1", "60.00")
    assert row["rolled_back_at"] is None


def test_what_was_undone_is_told_without_its_amount(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)
    bench.clock.advance(HOUR)
    bench.deposit("tx-1", promo_code=code.code, status="rolled_back")

    [row] = codes(bench)

    assert (row["status"], row["redemptions"], row["amount"], row["reward"]) == ("issued", 0, None, None)
    assert (row["deposit_id"], row["redeemed_at"]) == ("tx-1", "2026-11-24T10:00:00Z")
    assert row["rolled_back_at"] == "2026-11-24T11:00:00Z"


def test_codes_are_wanted_by_campaign_player_request_status_and_time(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    first, second = bench.issue("p1", "p2")
    bench.clock.advance(HOUR)
    later = bench.issue("p1", request_id="r-2")[0]
    external = save(bench, "CRM-77", campaign_id="partner")
    revoke.revoke(bench.ledger, second.code, bench.clock(), versions=bench.versions, ring=bench.ring, by="ann")
    issued_at = bench.clock()

    def found(status: str | None = None, **wanted: Any) -> set[str]:
        for page in (1, 2, 100):
            names = {row["code"] for row in codes(bench, Wanted(**wanted), status=status, page=page)}
        return names

    everything = {first.code, second.code, later.code, external.code}
    assert found() == everything
    assert found(campaign_id="partner") == {external.code}
    assert found(player_id="p1") == {first.code, later.code}
    assert found(request_ref="r-1") == {first.code, second.code}
    assert found("revoked") == {second.code}
    assert found("issued") == everything - {second.code}
    assert found(since=issued_at) == {later.code, external.code}
    assert found(until=issued_at) == {first.code, second.code}
    assert found(since=issued_at + 1) == found(player_id="nobody") == set()
    bench.clock.advance(8 * DAY)
    assert found("expired", player_id="p1", since=issued_at) == {later.code}


@pytest.mark.parametrize("page", [1, 3, 7, 8, 100])
@pytest.mark.parametrize("wanted", [Wanted(), Wanted(request_ref="r-1")])
def test_every_code_has_one_row_however_long_the_pages_are(bench: Bench, page: int, wanted: Wanted) -> None:
    issued = bench.issue(*(f"p{i}" for i in range(7)))

    assert [row["code"] for row in codes(bench, wanted, page=page)] == [code.code for code in issued]


def test_an_empty_ledger_has_no_rows(bench: Bench) -> None:
    assert codes(bench) == deposits(bench) == []


def test_nothing_is_held_while_rows_are_taken_and_what_comes_meanwhile_is_left_out(bench: Bench) -> None:
    issued = bench.issue(*(f"p{i}" for i in range(4)))
    told = export.of_codes(bench.ledger, Wanted(), bench.clock(), page=2)
    seen = []

    for row in told:
        assert bench.ledger.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        seen.append(row["code"])
        bench.issue(f"late{len(seen)}", request_id=f"late{len(seen)}")

    assert seen == [code.code for code in issued]


def test_a_deposit_has_a_row_with_its_verdict(bench: Bench) -> None:
    bench.apply(MATCHED)
    one, two = bench.issue("p1", "p2")
    bench.deposit("tx-1", promo_code=one.code)
    bench.deposit("tx-2", player_id="p2", promo_code=two.code, amount="15.00", occurred_at="2026-11-24T09:30:00Z")

    accepted, refused = deposits(bench)

    assert tuple(accepted) == tuple(refused) == DEPOSIT_COLUMNS
    assert accepted == {
        "deposit_id": "tx-1",
        "player_id": "p1",
        "amount": "50.00",
        "currency": "EUR",
        "status": "approved",
        "occurred_at": "2026-11-24T10:00:00Z",
        "result": "accepted",
        "reason": None,
        "code": one.code,
        "campaign": "welcome",
        "reward_type": "percent",
        "reward_amount": "25.00",
        "reward_currency": "EUR",
        "reward_count": None,
        "near_miss": None,
        "judged_at": "2026-11-24T10:00:00Z",
    }
    assert (refused["result"], refused["reason"]) == ("refused", "below_minimum")
    assert refused["occurred_at"] == "2026-11-24T09:30:00Z"
    assert (refused["near_miss"], refused["reward_amount"]) == ("5.00 EUR short", None)


def test_a_deposit_that_is_not_judged_yet_has_an_empty_verdict(bench: Bench) -> None:
    told = {"deposit_id": "tx-1", "player_id": "p1", "amount": "50.00", "currency": "EUR", "status": "approved"}
    tell.record(bench.ledger, [jobs.read_deposit(told)], bench.clock())

    [row] = deposits(bench)

    assert (row["deposit_id"], row["result"], row["judged_at"]) == ("tx-1", None, None)


def test_free_spins_are_a_count_and_no_money(bench: Bench) -> None:
    bench.apply(CAMPAIGN + "\n[reward]\nfree_spins = 20\n")
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)

    [row] = deposits(bench)

    assert (row["reward_type"], row["reward_count"]) == ("free_spins", 20)
    assert (row["reward_amount"], row["reward_currency"]) == (None, None)


def test_deposits_are_wanted_by_player_campaign_result_and_time(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)
    bench.deposit("tx-2", promo_code=code.code, occurred_at="2026-11-24T09:59:59Z")
    bench.deposit("tx-3", player_id="p2")
    at = bench.clock()

    def found(**wanted: Any) -> set[str]:
        for page in (1, 2, 100):
            ids = {row["deposit_id"] for row in deposits(bench, WantedDeposits(**wanted), page=page)}
        return ids

    assert found() == {"tx-1", "tx-2", "tx-3"}
    assert found(player_id="p1") == found(campaign="welcome") == {"tx-1", "tx-2"}
    assert found(result="no_code") == {"tx-3"}
    assert found(player_id="p1", result="accepted") == {"tx-1"}
    assert found(since=at) == {"tx-1", "tx-3"}
    assert found(until=at) == found(since=at - SECOND, until=at) == {"tx-2"}
    assert [row["deposit_id"] for row in deposits(bench, page=2)] == ["tx-1", "tx-2", "tx-3"]
