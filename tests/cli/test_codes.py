"""`promocast codes`: one code's story, and all of them for a spreadsheet that runs nothing."""

from __future__ import annotations

import csv
import io

import pytest

from promocast.flows.export import CODE_COLUMNS
from tests.cli.conftest import CAMPAIGN, Done, Installation


def rows(done: Done) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.out)))


def test_a_code_is_shown_with_its_story_however_it_is_spelt(promocast: Installation) -> None:
    code = promocast.issue("p1")["p1"]

    shown = promocast("codes", "show", f"{code[:4]}-{code[4:]}".lower())

    assert shown.status == 0
    lines = [" ".join(line.split()) for line in shown.out.splitlines()]
    assert lines[:3] == [f"code {code}", "campaign welcome", "player_id p1"]
    assert "status issued" in lines
    assert [line.split(" ", 1)[1] for line in lines[lines.index("timeline") + 1 :]] == ["issued", "popup due"]


def test_a_code_as_json_is_what_the_api_tells(promocast: Installation) -> None:
    code = promocast.issue("p1")["p1"]

    told = promocast("codes", "show", code, "--json").json

    assert told.keys() == {
        "code", "campaign", "player_id", "request_id", "status", "issued_at", "sent_at", "shown_at", "expires_at",
        "redemptions", "timeline",
    }  # fmt: skip
    assert (told["code"], told["player_id"], told["status"]) == (code, "p1", "issued")


def test_a_code_that_is_not_recorded_is_not_found(promocast: Installation) -> None:
    done = promocast("codes", "show", "AB12CD")

    assert (done.status, done.out) == (1, "")
    assert "No code 'AB12CD' is recorded" in done.err


def test_an_export_has_a_header_and_a_row_for_every_code(promocast: Installation) -> None:
    codes = promocast.issue(*(f"p{i}" for i in range(3)))

    done = promocast("codes", "export")

    assert done.status == 0
    assert done.out.splitlines()[0] == ",".join(CODE_COLUMNS)
    assert {row["player_id"]: row["code"] for row in rows(done)} == codes


def test_an_export_of_nothing_is_its_header(promocast: Installation) -> None:
    done = promocast("codes", "export")

    assert done.status == 0
    assert done.out.splitlines() == [",".join(CODE_COLUMNS)]


def test_an_export_goes_beyond_one_page(promocast: Installation) -> None:
    promocast.issue(*(f"p{i}" for i in range(1_001)))

    exported = rows(promocast("codes", "export"))

    assert len({row["code"] for row in exported}) == len(exported) == 1_001


def test_all_codes_of_a_player_are_shown_each_with_what_happened_last(promocast: Installation) -> None:
    first = promocast.issue("p1", "p2")["p1"]
    promocast("issue", "welcome", promocast.write("again.ndjson", {"player_id": "p1"}), "--request-id", "r-2")
    promocast.work()
    promocast("codes", "revoke", first, "--reason", "leaked")

    shown = promocast("codes", "show", "--player", "p1")
    told = promocast("codes", "show", "--player", "p1", "--json").json

    assert shown.status == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert len(lines) == 3, "a header, and the two codes of this player"
    assert lines[1][:3] == [first, "welcome", "revoked"]
    assert shown.out.splitlines()[1].rstrip().endswith("at the command line: leaked")
    assert lines[2][2] == "issued"
    assert [(code["player_id"], code["status"]) for code in told["items"]] == [("p1", "revoked"), ("p1", "issued")]
    assert told["next"] is None
    assert told["items"][0] == promocast("codes", "show", first, "--json").json


def test_a_player_without_codes_has_none(promocast: Installation) -> None:
    assert promocast("codes", "show", "--player", "p1").out == "the player has no codes\n"
    assert promocast("codes", "show", "--player", "p1", "--json").json == {"items": [], "next": None}


@pytest.mark.parametrize("arguments", [(), ("AB12CD", "--player", "p1")])
def test_either_a_code_or_a_player_is_shown(promocast: Installation, arguments: tuple[str, ...]) -> None:
    done = promocast("codes", "show", *arguments)

    assert (done.status, done.out) == (2, "")
    assert "give either a code, or --player" in " ".join(done.err.split())


@pytest.mark.parametrize("player_id", ['=HYPERLINK("http://x","y")', "+1", "-1", "@SUM(1)"])
def test_a_cell_that_a_spreadsheet_would_run_is_made_inert(promocast: Installation, player_id: str) -> None:
    promocast.issue(player_id)

    [row] = rows(promocast("codes", "export"))

    assert row["player_id"] == f"'{player_id}"


def test_an_export_can_be_of_one_campaign_one_player_or_one_request(promocast: Installation) -> None:
    promocast.issue("p1", "p2")
    promocast("campaign", "apply", promocast.write_campaign(CAMPAIGN.replace('"welcome"', '"second"'), "second.toml"))
    promocast("issue", "second", promocast.write("second.ndjson", {"player_id": "p1"}), "--request-id", "r-2")
    promocast.work()

    def exported(*options: str) -> list[tuple[str, str]]:
        return sorted((row["campaign"], row["player_id"]) for row in rows(promocast("codes", "export", *options)))

    assert exported("--campaign", "welcome") == [("welcome", "p1"), ("welcome", "p2")]
    assert exported("--player", "p1") == [("second", "p1"), ("welcome", "p1")]
    assert exported("--request-id", "r-2") == [("second", "p1")]
