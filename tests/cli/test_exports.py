"""Exports as files: no cell runs, nothing is half written, and memory does not grow with what is exported."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promocast.cli import exporting
from promocast.cli.exporting import inert
from promocast.errors import InputError
from promocast.flows.export import CODE_COLUMNS, DEPOSIT_COLUMNS
from promocast.ledger import Ledger, codes, requests
from promocast.ledger.codes import NewCode
from promocast.model import system_clock
from tests.cli.conftest import CAMPAIGN, Done, Installation
from tests.cli.test_deposits import deposit


def rows(done: Done) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.out)))


@pytest.mark.parametrize(
    ("cell", "made"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-5.00", "'-5.00"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r1", "'\r1"),
        ("\n1", "'\n1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        ("\ufe661", "'\ufe661"),
        ("  =1", "'  =1"),
        ("\u3000=1", "'\u3000=1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("a;=1", "a;'=1"),
        ("a,=1,-2", "a,'=1,'-2"),
        ("a\t=1", "a\t'=1"),
        ("a\r\n=1", "a\r'\n'=1"),
        ('a"=1', "a\"'=1"),
        ("ann", "ann"),
        ("p-1", "p-1"),
        ("a=b", "a=b"),
        ("ann@example.com", "ann@example.com"),
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
        ("in USD, an amount of 20.00 USD", "in USD, an amount of 20.00 USD"),
        ("", ""),
    ],
)
def test_whatever_a_spreadsheet_would_run_is_made_inert_and_nothing_else_is_touched(cell: str, made: str) -> None:
    assert inert(cell) == made


def written(*told: dict[str, Any], columns: list[str], form: str = "csv", path: Path) -> str:
    assert exporting.export(iter(told), columns, form, path) == len(told)
    return path.read_text(encoding="utf-8")


def test_numbers_of_ours_stay_numbers_only_where_the_column_is_one(tmp_path: Path) -> None:
    row = {
        "player_id": "-5.00",
        "amount": "-5.00",
        "redemptions": 0,
        "reward_amount": "-5.00+cmd",
        "reward_count": None,
    }

    text = written(row, columns=list(row), path=tmp_path / "out.csv")

    assert text.splitlines()[1] == "'-5.00,-5.00,0,'-5.00+cmd,"


def test_a_reward_is_text_in_a_spreadsheet_and_an_object_in_ndjson(tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [
        {"reward": {"type": "fixed", "amount": "5.00", "currency": "EUR"}},
        {"reward": {"count": 20}},
    ]

    text = written(*given, columns=["reward"], path=tmp_path / "out.csv")
    lines = written(*given, columns=["reward"], form="ndjson", path=tmp_path / "out.ndjson").splitlines()

    assert text.splitlines() == ["reward", "5.00 EUR", "20 free spins"]
    assert [json.loads(line) for line in lines] == given


def test_a_file_is_its_owners_only_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("of yesterday")
    path.chmod(0o644)
    (tmp_path / "link.csv").symlink_to(path)

    written({"code": "AB12"}, columns=["code"], path=tmp_path / "link.csv")

    assert path.read_text() == "code\nAB12\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (tmp_path / "link.csv").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "out.csv"]


def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("of yesterday")

    def breaking() -> Iterator[dict[str, Any]]:
        yield {"code": "AB12"}
        assert list(tmp_path.glob(".out.csv.*.part")), "it is under way"
        raise InputError("gone", "The ledger went away.")

    with pytest.raises(InputError, match="went away"):
        exporting.export(breaking(), ["code"], "csv", path)

    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "of yesterday"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    exporting.export(iter([{"code": "AB12"}]), ["code"], "csv", pipe)
    reader.join(10)

    assert read == ["code\nAB12\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_file_that_cannot_be_written_is_told(promocast: Installation) -> None:
    done = promocast("codes", "export", "--output", promocast.folder / "absent" / "codes.csv")

    assert (done.status, done.out) == (1, "")
    assert "codes.csv cannot be written: No such file or directory" in done.err


@pytest.mark.parametrize("given", ["yesterday", "2026-13-01", "2026-11-24T10:00:00"])
def test_what_is_no_time_is_wrong_usage(promocast: Installation, given: str) -> None:
    done = promocast("codes", "export", "--since", given)

    assert (done.status, done.out) == (2, "")
    assert "neither a date nor an RFC 3339 time" in " ".join(done.err.replace("│", " ").split())


@pytest.fixture
def busy(promocast: Installation, ledger: Ledger, ledger_url: str) -> Installation:
    """An installation on either ledger: three codes, of which one is redeemed, and three deposits."""
    promocast.configure(f'[ledger]\nurl = "{ledger_url}"\n')
    promocast.write_campaign(CAMPAIGN + '\n[reward]\npercent = "50"\n')
    promocast("campaign", "apply", promocast.campaigns / "welcome.toml")
    players = ({"player_id": player_id} for player_id in ("p1", "=p2", "p3"))
    promocast("issue", "welcome", promocast.write("given.ndjson", *players), "--request-id", "-r1")
    promocast.work()
    with ledger.read() as conn:
        issued = {code.player_id: code.code for code in codes.page(conn)}
    told = (
        deposit("tx-1", "p1", promo_code=issued["p1"], occurred_at="2020-01-01T00:00:00Z"),
        deposit("+tx-2", "=p2", promo_code=issued["=p2"], amount="15.00"),
        deposit("tx-3", "p4"),
    )
    promocast("deposits", "send", promocast.write("deposits.ndjson", *told))
    promocast.work()
    return promocast


def test_codes_are_exported_with_what_they_redeemed(busy: Installation) -> None:
    done = busy("codes", "export")
    told = [json.loads(line) for line in busy("codes", "export", "--format", "ndjson").out.splitlines()]

    by_player = {row["player_id"]: row for row in rows(done)}
    assert done.out.splitlines()[0] == ",".join(CODE_COLUMNS)
    assert by_player.keys() == {"p1", "'=p2", "p3"}
    redeemed = by_player["p1"]
    assert (redeemed["status"], redeemed["redemptions"], redeemed["deposit_id"]) == ("redeemed", "1", "tx-1")
    assert (redeemed["amount"], redeemed["currency"], redeemed["reward"]) == ("50.00", "EUR", "25.00 EUR")
    assert {row["request_id"] for row in rows(done)} == {"'-r1"}
    assert [tuple(row) for row in told] == [CODE_COLUMNS] * 3
    assert {row["player_id"] for row in told} == {"p1", "=p2", "p3"}
    assert [row["reward"] for row in told if row["reward"]] == [
        {"type": "percent", "amount": "25.00", "currency": "EUR"}
    ]


def test_codes_can_be_of_one_status_or_time(busy: Installation) -> None:
    def players(*options: str) -> set[str]:
        return {row["player_id"] for row in rows(busy("codes", "export", *options))}

    assert players("--status", "redeemed") == {"p1"}
    assert players("--status", "issued") == {"'=p2", "p3"}
    assert players("--since", "2020-01-01", "--until", "2999-01-01T00:00:00Z") == {"p1", "'=p2", "p3"}
    assert players("--since", "2999-01-01") == players("--until", "2020-01-01") == set()
    assert busy("codes", "export", "--status", "lost").status == 2


def test_deposits_are_exported_with_their_verdicts(busy: Installation) -> None:
    path = busy.folder / "deposits.csv"

    done = busy("deposits", "export", "--output", path)

    assert (done.status, done.out) == (0, "")
    assert done.err == f"3 deposits written to {path}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(encoding="utf-8", newline="") as file:
        by_id = {row["deposit_id"]: row for row in csv.DictReader(file)}
    assert path.read_text().splitlines()[0] == ",".join(DEPOSIT_COLUMNS)
    assert (by_id["tx-1"]["result"], by_id["tx-1"]["reward_amount"]) == ("accepted", "25.00")
    refused = by_id["'+tx-2"]
    assert (refused["reason"], refused["near_miss"], refused["amount"]) == ("below_minimum", "5.00 EUR short", "15.00")
    assert (by_id["tx-3"]["result"], by_id["tx-3"]["code"]) == ("no_code", "")
    assert [row["deposit_id"] for row in rows(busy("deposits", "export", "--result", "refused"))] == ["'+tx-2"]
    assert [row["deposit_id"] for row in rows(busy("deposits", "export", "--player", "p4"))] == ["tx-3"]


PEAK = """
import sys
from promocast import cli
try:
    cli.main()
except SystemExit as done:
    status = done.code
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), status)
"""


def peak_of_exporting(of: Installation, output: Path) -> int:
    """KiB of memory at the most, in a process that does nothing but export codes."""
    arguments = ["--config", str(of.config), "codes", "export", "--output", str(output)]
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True)
    peak, status = done.stdout.split()
    assert status in ("0", "None")
    return int(peak)


def record_codes(ledger: Ledger, first: int, count: int) -> None:
    with ledger.begin() as conn:
        request_id, _, _ = requests.open_request(conn, "bulk", "welcome", system_clock())
        for start in range(first, first + count, 1_000):
            drawn = [NewCode(f"BULK{i}", f"BULK{i}", f"player-{i}", "{}", None) for i in range(start, start + 1_000)]
            codes.record(
                conn,
                drawn,
                campaign_id="welcome",
                campaign_version=1,
                request_id=request_id,
                expires_at=None,
                max_redemptions=1,
                now=system_clock(),
            )


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak")
def test_memory_does_not_grow_with_what_is_exported(
    promocast: Installation, ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    promocast.configure(f'[ledger]\nurl = "{ledger_url}"\n')
    promocast("campaign", "apply", promocast.write_campaign())
    record_codes(ledger, 0, 2_000)
    few = peak_of_exporting(promocast, tmp_path / "few.csv")

    record_codes(ledger, 2_000, 38_000)
    many = peak_of_exporting(promocast, tmp_path / "many.csv")

    assert len((tmp_path / "many.csv").read_text().splitlines()) == 40_001
    # What SQLite keeps of the file's pages is bounded by its cache; the rows of 38,000 codes would be 40 MiB and more.
    assert many - few < 16 * 1024
