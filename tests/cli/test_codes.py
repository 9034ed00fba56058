"""`promocast codes`: one code's story, and all of them for a spreadsheet that runs nothing."""

from __future__ import annotations

import csv
import io

import pytest

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
    header = "code,campaign,player_id,request_id,status,issued_at,sent_at,shown_at,expires_at"
    assert done.out.splitlines()[0] == header
    assert {row["player_id"]: row["code"] for row in rows(done)} == codes


def test_an_export_of_nothing_is_its_header(promocast: Installation) -> None:
    done = promocast("codes", "export")

    assert done.status == 0
    assert done.out.splitlines() == ["code,campaign,player_id,request_id,status,issued_at,sent_at,shown_at,expires_at"]


def test_an_export_goes_beyond_one_page(promocast: Installation) -> None:
    promocast.issue(*(f"p{i}" for i in range(1_001)))

    exported = rows(promocast("codes", "export"))

    assert len({row["code"] for row in exported}) == len(exported) == 1_001


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
