"""`promocast issue`: recipients from NDJSON and CSV, every line accounted for, nothing issued twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promocast.ledger import codes
from promocast.ledger.codes import Code
from tests.cli.conftest import Installation


@pytest.fixture
def applied(promocast: Installation) -> Installation:
    """An installation with the campaign `welcome` in force."""
    promocast("campaign", "apply", promocast.write_campaign())
    return promocast


def issued(promocast: Installation) -> dict[str | None, Code]:
    promocast.work()
    with promocast.ledger() as ledger, ledger.read() as conn:
        return {code.player_id: code for code in codes.page(conn, limit=1_000)}


def players(count: int) -> list[str | dict[str, Any]]:
    return [{"player_id": f"p{i}"} for i in range(count)]


def test_every_line_of_an_ndjson_file_is_a_recipient(applied: Installation) -> None:
    ann = {"player_id": "84213", "locale": "en", "addresses": {"email": "ann@example.com"}, "attributes": {"vip": 2}}
    file = applied.write("players.ndjson", ann, "", {"player_id": "p2"})

    done = applied("issue", "welcome", file, "--json")

    assert done.status == 0
    assert (done.json["campaign"], done.json["accepted"], done.json["rejected"]) == ("welcome", 2, 0)
    assert issued(applied).keys() == {"84213", "p2"}
    recipient = issued(applied)["84213"].recipient
    assert (recipient["locale"], recipient["attributes"]) == ("en", {"vip": 2})
    assert (recipient["addresses"]["email"], recipient["addresses"]["popup"]) == ("ann@example.com", "84213")


def test_every_row_of_a_csv_file_is_a_recipient(applied: Installation) -> None:
    file = applied.write(
        "players.csv",
        "\ufeffplayer_id,locale,timezone,popup,email,sms,telegram,fcm,attributes.first_name",
        '84213,en,Europe/Malta,device-7,ann@example.com,+35699123456,1001,token-1,"Ann, of Malta"',
        "p2,,,,,,,,",
    )

    done = applied("issue", "welcome", file)

    assert done.status == 0
    assert "2 accepted" in done.out
    assert issued(applied)["84213"].recipient == {
        "locale": "en",
        "timezone": "Europe/Malta",
        "addresses": {
            "popup": "device-7",
            "email": "ann@example.com",
            "sms": "+35699123456",
            "telegram": "1001",
            "push": [{"kind": "fcm", "token": "token-1"}],
        },
        "attributes": {"first_name": "Ann, of Malta"},
    }
    empty_cells = issued(applied)["p2"].recipient
    assert empty_cells["addresses"]["popup"] == "p2"
    assert not {"locale", "timezone", "attributes"} & empty_cells.keys()
    assert not {"email", "sms", "telegram"} & empty_cells["addresses"].keys()


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("player_id,phone,mail", "has unknown columns phone, mail"),
        ("email,sms", "has no column player_id"),
        ("", "has no column player_id"),
    ],
)
def test_a_csv_file_with_the_wrong_columns_is_refused_whole(applied: Installation, header: str, told: str) -> None:
    file = applied.write("players.csv", header, "84213,+35699123456,ann@example.com")

    done = applied("issue", "welcome", file)

    assert (done.status, done.out) == (1, "")
    assert f"{file} {told}; known are player_id, locale" in done.err
    assert issued(applied) == {}


def test_bad_lines_are_told_by_their_numbers_and_the_good_ones_are_issued(applied: Installation) -> None:
    file = applied.write(
        "players.ndjson", {"player_id": "p1"}, "{", "", {"player_id": "p4", "timezone": "Mars"}, {"player_id": "p1"}
    )

    done = applied("issue", "welcome", file)

    assert done.status == 1
    assert "1 accepted, 3 rejected" in done.out
    assert [line for line in done.err.splitlines() if line.startswith("line ")] == [
        "line 2: invalid_recipient: /: Input should be a valid dictionary or instance of Recipient",
        "line 4: invalid_recipient: /timezone: no time zone of the IANA database, as Europe/Malta is one",
        "line 5: duplicate_recipient",
    ]
    assert issued(applied).keys() == {"p1"}


def test_lines_of_a_csv_file_are_counted_from_its_header(applied: Installation) -> None:
    file = applied.write("players.csv", "player_id,timezone", "p1,Europe/Malta", "p2,Mars")

    done = applied("issue", "welcome", file, "--json")

    assert done.status == 1
    [rejection] = done.json["rejections"]
    assert (rejection["line"], rejection["player_id"]) == (3, "p2")


def test_bad_lines_beyond_the_first_five_hundred_keep_their_numbers(applied: Installation) -> None:
    file = applied.write("players.ndjson", *players(600), {"player_id": ""})

    done = applied("issue", "welcome", file, "--json")

    assert (done.status, done.json["accepted"]) == (1, 600)
    assert [rejection["line"] for rejection in done.json["rejections"]] == [601]
    assert len(issued(applied)) == 600


def test_the_same_file_twice_issues_nothing_new(applied: Installation) -> None:
    file = applied.write("players.ndjson", *players(501))
    first = applied("issue", "welcome", file, "--json")
    codes_before = {player_id: code.code for player_id, code in issued(applied).items()}

    again = applied("issue", "welcome", file, "--json")

    assert (first.status, again.status) == (0, 0)
    assert again.json["request_id"] == first.json["request_id"]
    assert (again.json["accepted"], again.json["issued"]) == (501, 501)
    assert {player_id: code.code for player_id, code in issued(applied).items()} == codes_before


def test_an_interrupted_file_goes_on_where_it_stopped(applied: Installation) -> None:
    lines = players(700)
    applied("issue", "welcome", applied.write("first.ndjson", *lines[:500]), "--request-id", "r-1")
    codes_before = {player_id: code.code for player_id, code in issued(applied).items()}

    done = applied("issue", "welcome", applied.write("whole.ndjson", *lines), "--request-id", "r-1", "--json")

    assert (done.status, done.json["request_id"]) == (0, "r-1")
    codes_after = {player_id: code.code for player_id, code in issued(applied).items()}
    assert len(codes_after) == 700
    assert codes_before.items() <= codes_after.items()


def test_the_same_players_in_another_file_are_another_request(applied: Installation) -> None:
    first = applied("issue", "welcome", applied.write("spring.ndjson", {"player_id": "p1"}), "--json")
    second = applied("issue", "welcome", applied.write("autumn.ndjson", {"player_id": "p1"}, ""), "--json")

    assert first.json["request_id"] != second.json["request_id"]


def test_an_unknown_campaign_is_told_and_nothing_is_accepted(applied: Installation) -> None:
    done = applied("issue", "farewell", applied.write("players.ndjson", *players(1)))

    assert (done.status, done.out) == (1, "")
    assert "No campaign 'farewell' is in force" in done.err
    assert issued(applied) == {}


@pytest.mark.parametrize("name", ["absent.ndjson", "absent.csv"])
def test_a_file_that_is_not_there_is_told(applied: Installation, name: str) -> None:
    done = applied("issue", "welcome", name)

    assert (done.status, done.out) == (1, "")
    assert f"{name} cannot be read" in done.err


@pytest.mark.parametrize("lines", [[], ["", ""]])
def test_a_file_without_recipients_is_told(applied: Installation, lines: list[str]) -> None:
    done = applied("issue", "welcome", applied.write("players.ndjson", *lines))

    assert (done.status, done.out) == (1, "")
    assert "no recipient that could be accepted" in done.err


def test_a_server_that_does_not_answer_is_told(applied: Installation) -> None:
    file: Path = applied.write("players.ndjson", *players(1))

    done = applied("issue", "welcome", file, "--url", "http://127.0.0.1:1", "--key", "pk_1")

    assert (done.status, done.out) == (1, "")
    assert "http://127.0.0.1:1 does not answer" in done.err
