"""The book's manners: transactions, what comes back as it went in, and a database that is not there."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from promocast.errors import LedgerUnavailable
from promocast.ledger import Connection, Ledger, inbox
from promocast.ledger.engine import insert_new, lock_players, rows_of
from promocast.ledger.schema import codes, requests
from tests.conftest import NOW
from tests.ledger import plant_campaign

only_sqlite = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
only_postgresql = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)

HOSTILE = [
    "",
    " ",
    "'; DROP TABLE codes; --",
    'say "so"',
    "back\\slash \\n \\u0041",
    "{curly,braces}",
    '{"json": [1, null]}',
    "[1, 2]",
    "NULL",
    "null",
    "true",
    "007",
    "1e5",
    ":r_code %s %(name)s $1 ?",
    "tab\tand\r\nline",
    "\x01\x1f\x7f",
    "\u2028\u202e\ufeff",
    "Zoë Ångström",
    "Zoe\u0308",
    "日本語 عربى",
    "👩‍🚀🎉",
    "x" * 100_000,
]
LARGE = [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]


def keep(conn: Connection, reason: str) -> None:
    inbox.put(conn, "job", reason, "", b"", NOW)


def kept(conn: Connection) -> int:
    return inbox.counts(conn).get("job", 0)


def test_only_the_new_rows_are_inserted_and_returned(ledger: Ledger) -> None:
    columns = [requests.c.ref, requests.c.campaign_id, requests.c.created_at]
    with ledger.begin() as conn:
        plant_campaign(conn)
        insert_new(conn, columns, [("a", "welcome", NOW)], [requests.c.id])

        rows = [(ref, "welcome", NOW) for ref in ("a", "b", "c", "b")]
        new = insert_new(conn, columns, rows, [requests.c.ref])

        assert sorted(row.ref for row in new) == ["b", "c"]
        assert insert_new(conn, columns, [], [requests.c.ref]) == []


def test_values_come_back_as_they_went_in_however_hostile(ledger: Ledger) -> None:
    columns = [codes.c.max_redemptions, codes.c.code, codes.c.labels, codes.c.expires_at]
    rows: list[tuple[Any, ...]] = [(i, value, None, None) for i, value in enumerate(HOSTILE)]
    rows += [(len(HOSTILE) + i, "", "", value) for i, value in enumerate(LARGE)]

    with ledger.read() as conn:
        source, parameters = rows_of(conn, columns, rows)
        names = ", ".join(column.name for column in columns)
        found = conn.execute(text(f"SELECT {names} FROM {source} ORDER BY max_redemptions"), parameters).all()

    assert [tuple(row) for row in found] == rows


def test_no_rows_are_no_rows(ledger: Ledger) -> None:
    with ledger.read() as conn:
        source, parameters = rows_of(conn, [codes.c.code, codes.c.expires_at], [])

        assert conn.execute(text(f"SELECT * FROM {source}"), parameters).all() == []


def test_a_transaction_that_raises_leaves_nothing_behind(ledger: Ledger) -> None:
    def fail(conn: Connection) -> None:
        keep(conn, "never kept")
        raise RuntimeError("after the insert")

    with pytest.raises(RuntimeError, match="after the insert"), ledger.begin() as conn:
        fail(conn)

    with ledger.read() as conn:
        assert kept(conn) == 0


def test_a_reader_does_not_wait_for_an_open_writer(ledger: Ledger) -> None:
    with ledger.begin() as writer:
        keep(writer, "not committed yet")
        with ledger.read() as reader:
            seen = kept(reader)

    assert seen == 0


@only_sqlite
def test_a_reader_sees_one_moment_while_others_write(ledger: Ledger) -> None:
    with ledger.read() as reader:
        before = kept(reader)
        with ledger.begin() as writer:
            keep(writer, "committed meanwhile")
        after = kept(reader)

    assert (before, after) == (0, 0)


@only_sqlite
def test_sqlite_writes_ahead_flushes_fully_and_keeps_foreign_keys(ledger: Ledger) -> None:
    with ledger.read() as conn:
        pragmas = {
            name: conn.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }

    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_of_many_threads_that_write_at_once_none_fails(ledger: Ledger) -> None:
    gate = threading.Barrier(16)

    def write(number: int) -> None:
        gate.wait()
        for turn in range(10):
            with ledger.begin() as conn:
                keep(conn, f"{number}.{turn}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))

    with ledger.read() as conn:
        assert kept(conn) == 160


def test_of_many_processes_that_write_at_once_none_fails(ledger: Ledger, ledger_url: str) -> None:
    """Each thread has a ledger of its own, and with it what a process has: connections, and a file lock."""
    gate = threading.Barrier(6)

    def write(number: int) -> None:
        own = Ledger(ledger_url)
        gate.wait()
        for turn in range(10):
            with own.begin() as conn:
                keep(conn, f"{number}.{turn}")
        own.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))

    with ledger.read() as conn:
        assert kept(conn) == 60


def test_a_postgresql_that_does_not_answer_is_an_unavailable_ledger() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers here
        gone = Ledger(f"postgresql+psycopg://promocast@127.0.0.1:{held.getsockname()[1]}/nowhere")

        with pytest.raises(LedgerUnavailable, match="does not answer"), gone.begin():
            pass
        with pytest.raises(LedgerUnavailable, match="does not answer"), gone.read():
            pass


def test_a_sqlite_file_that_cannot_be_opened_is_an_unavailable_ledger(tmp_path: Path) -> None:
    gone = Ledger(f"sqlite:///{tmp_path}")

    with pytest.raises(LedgerUnavailable, match="does not answer"), gone.begin():
        pass
    with pytest.raises(LedgerUnavailable, match="does not answer"), gone.read():
        pass


@only_postgresql
def test_a_connection_cut_in_the_middle_is_an_unavailable_ledger_and_the_next_one_works(ledger: Ledger) -> None:
    def be_cut_off(conn: Connection) -> None:
        keep(conn, "cut off before the commit")
        backend = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with ledger.begin() as admin:
            admin.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": backend})
        keep(conn, "nobody is there any more")

    with pytest.raises(LedgerUnavailable), ledger.begin() as conn:
        be_cut_off(conn)

    with ledger.begin() as conn:
        assert kept(conn) == 0


@only_postgresql
def test_who_freezes_in_a_transaction_holds_others_off_for_a_while_only(ledger: Ledger) -> None:
    with ledger.read() as conn:
        assert conn.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "30s"

    def freeze() -> None:
        with ledger.begin() as frozen:
            frozen.execute(text("SET LOCAL idle_in_transaction_session_timeout = 100"))
            lock_players(frozen, ["p1"])
            with ledger.begin() as other:
                lock_players(other, ["p1"])  # returns once the server has ended the other
            frozen.execute(text("SELECT 1"))

    with pytest.raises(LedgerUnavailable):
        freeze()


@only_postgresql
def test_a_server_that_has_its_own_limit_of_idle_transactions_keeps_it(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c idle_in_transaction_session_timeout=7000")
    made = Ledger(ledger_url)
    with made.read() as conn:
        assert conn.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "7s"
    made.close()
