"""`promocast deposits`: told from a file, shown with the verdict and its reasons."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Installation


def deposit(deposit_id: str, player_id: str, **more: Any) -> dict[str, Any]:
    told = {"deposit_id": deposit_id, "player_id": player_id, "amount": "50.00", "currency": "EUR"}
    return {**told, "status": "approved", **more}


def test_deposits_from_a_file_are_recorded_and_judged(promocast: Installation) -> None:
    code = promocast.issue("p1")["p1"]
    file = promocast.write("deposits.ndjson", deposit("tx-1", "p1", promo_code=code), "", deposit("tx-2", "p2"))

    done = promocast("deposits", "send", file)
    promocast.work()

    assert (done.status, done.out) == (0, "2 recorded, 0 refused\n")
    verdict = promocast("deposits", "show", "tx-1", "--json").json["verdict"]
    assert (verdict["result"], verdict["code"], verdict["campaign"]) == ("accepted", code, "welcome")
    assert promocast("deposits", "show", "tx-2", "--json").json["verdict"]["result"] == "no_code"


def test_bad_lines_are_told_by_their_numbers_and_the_good_ones_are_recorded(promocast: Installation) -> None:
    wrong = deposit("tx-3", "p1", amount="-5.00", status="paid")
    file = promocast.write("deposits.ndjson", deposit("tx-1", "p1"), "{", wrong)

    done = promocast("deposits", "send", file)

    assert (done.status, done.out) == (1, "1 recorded, 2 refused\n")
    assert "line 2: no JSON" in done.err
    [line] = [line for line in done.err.splitlines() if line.startswith("line 3: ")]
    assert "/amount: " in line
    assert "/status: " in line
    assert promocast("deposits", "show", "tx-1").status == 0


def test_telling_a_file_twice_changes_nothing(promocast: Installation) -> None:
    code = promocast.issue("p1")["p1"]
    file = promocast.write("deposits.ndjson", deposit("tx-1", "p1", promo_code=code))
    promocast("deposits", "send", file)
    promocast.work()
    before = promocast("deposits", "show", "tx-1", "--json").json

    again = promocast("deposits", "send", file)
    promocast.work()

    assert again.status == 0
    assert promocast("deposits", "show", "tx-1", "--json").json == before
    assert len(promocast("codes", "show", code, "--json").json["redemptions"]) == 1


def test_a_deposit_is_shown_unjudged_until_it_is_judged(promocast: Installation) -> None:
    promocast("deposits", "send", promocast.write("deposits.ndjson", deposit("tx-1", "p1")))

    shown = promocast("deposits", "show", "tx-1")

    assert shown.status == 0
    assert promocast("deposits", "show", "tx-1", "--json").json["verdict"] is None
    assert "not judged yet" in shown.out


def test_a_refused_deposit_is_shown_with_its_reason_every_rule_and_what_was_short(promocast: Installation) -> None:
    code = promocast.issue("p1")["p1"]
    file = promocast.write("deposits.ndjson", deposit("tx-1", "p1", promo_code=code, amount="15.00"))
    promocast("deposits", "send", file)
    promocast.work()

    shown = promocast("deposits", "show", "tx-1")

    assert shown.status == 0
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert "verdict refused: below_minimum" in lines
    assert "in words the amount is below the minimum" in lines
    assert "near miss 5.00 EUR short" in lines
    assert [line.split()[1] for line in lines if line.startswith("✗")] == ["below_minimum"]
    assert "already_redeemed" in [line.split()[1] for line in lines if line.startswith("✓")]


def test_all_deposits_of_a_player_are_shown_each_with_its_verdict(promocast: Installation) -> None:
    code = promocast.issue("p1", "p2")["p1"]
    short = deposit("tx-2", "p1", promo_code=code, amount="15.00", occurred_at="2020-01-01T00:00:00Z")
    told = [deposit("tx-1", "p1", promo_code=code), short, deposit("tx-3", "p2"), deposit("tx-4", "p1", amount="7.00")]
    promocast("deposits", "send", promocast.write("deposits.ndjson", *told[1:]))
    promocast.work()
    promocast("deposits", "send", promocast.write("more.ndjson", told[0]))

    shown = promocast("deposits", "show", "--player", "p1")
    as_json = promocast("deposits", "show", "--player", "p1", "--json").json

    assert shown.status == 0
    by_id = {line.split()[0]: " ".join(line.split()) for line in shown.out.splitlines()[1:]}
    assert by_id.keys() == {"tx-1", "tx-2", "tx-4"}
    assert by_id["tx-1"].endswith("50.00 EUR approved not judged yet")
    assert by_id["tx-2"].endswith(f"refused {code} the amount is below the minimum (5.00 EUR short)")
    assert [deposit["deposit_id"] for deposit in as_json["items"]] == ["tx-1", "tx-2", "tx-4"]
    assert as_json["items"][1] == promocast("deposits", "show", "tx-2", "--json").json


@pytest.mark.parametrize("arguments", [(), ("tx-1", "--player", "p1")])
def test_either_a_deposit_or_a_player_is_shown(promocast: Installation, arguments: tuple[str, ...]) -> None:
    done = promocast("deposits", "show", *arguments)

    assert (done.status, done.out) == (2, "")
    assert "give either a deposit's id, or --player" in " ".join(done.err.split())


def test_a_deposit_that_nobody_told_is_not_found(promocast: Installation) -> None:
    done = promocast("deposits", "show", "tx-404")

    assert (done.status, done.out) == (1, "")
    assert "No deposit 'tx-404' was told" in done.err


def test_a_file_that_is_not_there_is_told(promocast: Installation) -> None:
    done = promocast("deposits", "send", "absent.ndjson")

    assert (done.status, done.out) == (1, "")
    assert "absent.ndjson cannot be read" in done.err
