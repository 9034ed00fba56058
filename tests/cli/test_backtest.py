"""`promocast campaign backtest`: an edit is tried on what was judged, and docs/backtest.md shows what comes out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import CAMPAIGN, Installation

DOCUMENT = Path(__file__).parents[2] / "docs" / "backtest.md"
PAID = [("ann", "50.00"), ("bob", "15.00"), ("bob", "60.00"), ("cid", "14.00"), ("dan", "18.00")]


def campaign(least: str, percent: str) -> str:
    return CAMPAIGN.replace('"20.00"', f'"{least}"') + f'\n[reward]\npercent = "{percent}"\n'


@pytest.fixture
def judged(promocast: Installation) -> Installation:
    """A campaign with some deposits, as docs/backtest.md tells of it, and an edited file of it."""
    promocast("campaign", "apply", promocast.write_campaign(campaign("20.00", "50")))
    recipients = [{"player_id": player_id} for player_id in ("ann", "bob", "cid", "dan")]
    promocast("issue", "welcome", promocast.write("given.ndjson", *recipients))
    promocast.work()
    for number, (player_id, amount) in enumerate(PAID, 1):
        deposit = {"deposit_id": f"tx-{number}", "player_id": player_id, "amount": amount, "currency": "EUR"}
        promocast("deposits", "send", promocast.write("told.ndjson", deposit | {"status": "approved"}))
        promocast.work()
    promocast.write_campaign(campaign("15.00", "40"))
    return promocast


def timeless(text: str) -> list[str]:
    """Lines without the times and spaces in which they differ."""
    return [re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", line).rstrip() for line in text.strip().splitlines()]


def test_the_document_shows_what_the_command_prints(judged: Installation) -> None:
    done = judged("campaign", "backtest", judged.campaigns / "welcome.toml", "--since", "30d")

    _, shown = re.findall(r"^```.*?\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[:2]
    assert done.status == 0
    assert timeless(done.out) == timeless(shown)


def test_as_json_there_is_all_of_it_and_the_details_name_every_deposit_that_changes(judged: Installation) -> None:
    details = judged.folder / "details.ndjson"

    done = judged("campaign", "backtest", judged.campaigns / "welcome.toml", "--json", "--details", details)

    assert done.status == 0
    told = done.json
    assert told["edited"] == ["redemption.min_deposit", "reward"]
    assert told["deposits"] == {"replayed": 5, "concerned": 5, "not_reproduced": 0}
    assert told["changes"] == {"gained": 2, "lost": 1, "reward": 1, "code": 0, "refusal": 0}
    assert told["rewards"] == {"EUR": {"before": "55.00", "after": "33.20", "difference": "-21.80"}}
    lines = [json.loads(line) for line in details.read_text(encoding="utf-8").splitlines()]
    assert {line["deposit_id"]: line["change"] for line in lines} == {
        "tx-1": "reward",
        "tx-2": "gained",
        "tx-3": "lost",
        "tx-5": "gained",
    }
    assert lines[1]["before"]["reason"] == "below_minimum"
    assert lines[1]["after"]["reward"] == {"type": "percent", "amount": "6.00", "currency": "EUR"}


def test_the_file_in_force_changes_nothing(judged: Installation) -> None:
    done = judged("campaign", "backtest", judged.write_campaign(campaign("20.00", "50")))

    assert "edited: nothing that deposits are judged by" in done.out
    assert "     0  accepted now" in done.out
    assert "players who" not in done.out


def test_a_period_holds_only_what_was_judged_in_it(judged: Installation) -> None:
    file = judged.campaigns / "welcome.toml"

    before = judged("campaign", "backtest", file, "--until", "1h", "--json")

    assert before.json["deposits"]["replayed"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "yesterday"), "'yesterday' is no duration"),
        (("--until", "2026-11-24T10:00:00"), "is no duration"),
        (("--since", "1h", "--until", "2h"), "the period ends before it begins"),
    ],
)
def test_a_period_that_is_none_is_wrong_usage(judged: Installation, options: tuple[str, ...], words: str) -> None:
    done = judged("campaign", "backtest", judged.campaigns / "welcome.toml", *options)

    assert done.status == 2
    assert words in re.sub(r"\s+", " ", done.err.replace("│", " "))


@pytest.mark.parametrize(
    "wrong",
    [CAMPAIGN.replace('"20.00"', '"twenty"'), CAMPAIGN.replace("length = 8", "length = 1\nexpected_codes = 100")],
)
def test_a_file_that_could_not_be_applied_is_refused_as_by_check(judged: Installation, wrong: str) -> None:
    file = judged.write_campaign(wrong)

    checked, done = (judged("campaign", command, file) for command in ("check", "backtest"))

    assert (done.status, checked.status, done.out) == (1, 1, "")
    place = re.search(rf"{re.escape(str(file))}:\d+: ", checked.err)
    assert place is not None
    assert place[0] in done.err


def test_a_campaign_that_is_not_in_force_and_a_file_that_cannot_be_written_are_said(judged: Installation) -> None:
    new = judged.write_campaign(CAMPAIGN.replace('"welcome"', '"new"'), "new.toml")

    unknown = judged("campaign", "backtest", new)
    unwritable = judged("campaign", "backtest", judged.campaigns / "welcome.toml", "--details", judged.folder)

    assert (unknown.status, unwritable.status) == (1, 1)
    assert "No campaign 'new' is in force." in unknown.err
    assert f"{judged.folder} cannot be written" in unwritable.err
