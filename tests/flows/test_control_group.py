"""The control group: players who are held out of a campaign, the same ones every time, so that it can be measured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promocast.campaign.journey import held_out
from promocast.ledger import requests
from tests.flows.conftest import Bench
from tests.flows.staging import source
from tests.unit.makers import campaign

PLAYERS = [f"p{n}" for n in range(60)]


def group(percent: int, of: str = "welcome") -> set[str]:
    return {player_id for player_id in PLAYERS if held_out(campaign(id=of, control_group=percent), player_id)}


def test_its_members_are_issued_no_code_and_told_by_name(bench: Bench) -> None:
    bench.apply(source('on = "code.issued"\nsend = ["popup"]', more="control_group = 30"))

    codes = bench.issue(*PLAYERS)

    held = group(30)
    assert 5 < len(held) < 30
    assert {code.player_id for code in codes} == set(PLAYERS) - held
    with bench.ledger.read() as conn:
        told: Any = requests.summary(conn, "r-1", bench.clock())
    assert (told["accepted"], told["issued"], told["refused"]) == (60, 60 - len(held), len(held))


def test_a_member_stays_one_over_requests_and_versions_and_when_the_group_grows(bench: Bench) -> None:
    for turn, percent in enumerate((20, 20, 40)):
        bench.apply(source('on = "code.issued"\nsend = ["popup"]', more=f"control_group = {percent}"))
        issued = {code.player_id for code in bench.issue(*PLAYERS, request_id=f"r-{turn}")}
        assert issued == set(PLAYERS) - group(percent)

    assert group(20) < group(40) < group(100) == set(PLAYERS)
    assert group(0) == set()


def test_each_campaign_holds_others_out() -> None:
    assert group(30, "welcome") != group(30, "reload")


def test_it_is_as_large_as_it_says() -> None:
    made = campaign(control_group=10)

    assert 900 < sum(held_out(made, str(n)) for n in range(10_000)) < 1_100


@given(st.text(min_size=1), st.integers(1, 99))
def test_it_goes_by_nothing_but_the_two_ids(player_id: str, percent: int) -> None:
    first, second = (campaign(control_group=percent, name=name) for name in ("One", "Two"))

    assert held_out(first, player_id) == held_out(second, player_id)


@pytest.mark.parametrize("player_id", ["p1", "p2", "p3"])
def test_a_deposit_of_a_member_redeems_nothing_and_is_told_as_any_other(bench: Bench, player_id: str) -> None:
    bench.apply(source('on = "code.issued"\nsend = ["popup"]', more="control_group = 100"))
    bench.issue(player_id)

    assert bench.deposit(player_id=player_id)["result"] == "no_code"
