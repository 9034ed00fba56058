"""Opening the book: transactions, SQLite's manners, and the few statements whose SQL differs by database."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Column, Connection, Engine, Integer, Row, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from promocast.errors import InputError, LedgerError, LedgerUnavailable

_READ_ONLY: Final = "promocast_read_only"

# A PostgreSQL that has vanished is noticed within half a minute, not hours later when the system gives up: who waits
# for it can say so, and goes on as soon as it is back. What ledger.url says of these goes first.
_PATIENCE: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# Rows that are read ahead where a whole table may be read: few enough to hold, enough to be quick.
READ_AHEAD: Final = 500

# A process that is frozen in the middle of a transaction, as a suspended machine's are, holds its rows and players
# against everybody: after so many milliseconds PostgreSQL ends the transaction. A limit of the server's own goes first.
_LONGEST_IDLE: Final = 30_000


class Ledger:
    """The book. `begin()` for what writes, `read()` for what only reads; both are one transaction each.

    Args:
        url: a SQLAlchemy URL of SQLite or PostgreSQL (psycopg).
        pool_size: connections kept per process.
    """

    def __init__(self, url: str, pool_size: int = 10) -> None:
        try:
            at = make_url(url)
            patience = {} if at.get_backend_name() == "sqlite" else _PATIENCE
            self.engine = create_engine(
                at,
                connect_args={name: value for name, value in patience.items() if name not in at.query},
                poolclass=QueuePool,
                pool_size=pool_size,
                max_overflow=20,
                hide_parameters=True,
                pool_pre_ping=bool(patience),
            )
        except (ArgumentError, ImportError) as exc:
            raise LedgerError(
                "ledger.url is no address of a ledger; write postgresql://user:password@host/db."
            ) from exc
        self.dialect = self.engine.dialect.name
        self._gate: _WriteGate | None = None
        if self.dialect == "sqlite":
            self._gate = _WriteGate(self.engine.url.database)
            _teach_sqlite(self.engine)
        elif self.dialect == "postgresql":
            _teach_postgresql(self.engine)
        else:
            raise LedgerError(f"A ledger lives in SQLite or PostgreSQL, not in {self.dialect}.")

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that writes: committed at the end, rolled back on an exception.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        with self._translated(), self._gate or _NO_GATE, self.engine.begin() as conn:
            yield conn

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; it sees one moment of the book and waits for no writer.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        with self._translated(), self.engine.connect() as connection:
            options: dict[str, Any] = {_READ_ONLY: True}
            if self.dialect == "postgresql":
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            conn = connection.execution_options(**options)
            with conn.begin():
                yield conn

    def scrub(self, patience: int = 10_000) -> bool:
        """Leave nothing of what was deleted in the files of a SQLite ledger; whether its write-ahead log could be
        emptied, which somebody who reads for long prevents. PostgreSQL's own vacuum does it in time, and this nothing.

        SQLite leaves copies of cells in the gaps of its pages even under `secure_delete`, when it balances them: only
        a rewritten file is known to be clean. It takes as much space again, and writers wait meanwhile. Readers are
        waited for `patience` milliseconds.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        if self.dialect != "sqlite":
            return True
        with self._translated(), self._gate or _NO_GATE:
            raw = self.engine.raw_connection()
            try:
                cursor = raw.cursor()
                cursor.execute(f"PRAGMA busy_timeout = {patience:d}")
                cursor.execute("PRAGMA temp_store = FILE")  # the whole file would not fit into memory
                cursor.execute("VACUUM")
                busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                cursor.close()
            except sqlite3.OperationalError as exc:
                raise LedgerUnavailable(f"The ledger's file could not be rewritten: {exc}.") from exc
            finally:
                raw.invalidate()  # with its own way of keeping temporary tables
                raw.close()
        return bool(busy == 0)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout as exc:
            raise LedgerUnavailable("All connections to the ledger are in use.") from exc
        except (OperationalError, InterfaceError) as exc:
            raise LedgerUnavailable(f"The ledger does not answer ({type(exc.orig).__name__}).") from exc
        except DataError as exc:
            detail = "A value holds what the ledger cannot: a NUL character, or a number beyond 64 bits."
            raise InputError("unstorable_value", detail) from exc
        except DBAPIError as exc:
            if exc.connection_invalidated:
                raise LedgerUnavailable("The ledger closed the connection.") from exc
            if type(exc) is DatabaseError:
                # SQLite's words are about the file; PostgreSQL's may quote a row.
                words = exc.orig if self.dialect == "sqlite" else type(exc.orig).__name__
                raise LedgerError(f"The ledger cannot be read: {words}") from exc
            raise


class _WriteGate:
    """One writer at a time, over all processes. SQLite would also serialise them, but by polling: with four
    saturated writers the unluckiest waited 2.6 s; queueing on a lock file brings that to half a second."""

    def __init__(self, database: str | None) -> None:
        self._threads = threading.Lock()
        self._path = f"{database}.lock" if database and database != ":memory:" else None
        self._file: int | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        if self._path is None:
            return
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as exc:
            self._threads.release()
            raise LedgerUnavailable(f"{self._path} cannot be locked: {exc}") from exc

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()


class _NoGate:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


_NO_GATE: Final = _NoGate()


def _teach_sqlite(engine: Engine) -> None:
    database = engine.url.database
    if database and database != ":memory:":
        Path(database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",  # accepted means on the disk
            "foreign_keys = ON",
            "busy_timeout = 10000",
            "cache_size = -65536",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        # A deferred transaction that turns to writing fails at once when another wrote in between.
        read_only = conn.get_execution_options().get(_READ_ONLY)
        conn.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _teach_postgresql(engine: Engine) -> None:
    from psycopg.types.array import ListBinaryDumper  # noqa: PLC0415 - a tenth of a second, of no use on SQLite

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # By a statement, not by a startup option: poolers in between refuse those that they do not know.
        name = "idle_in_transaction_session_timeout"
        connection.execute(
            "SELECT set_config(%s, %s, false) WHERE current_setting(%s) = '0'", (name, str(_LONGEST_IDLE), name)
        )
        connection.commit()
        # As text, an array is escaped quote by quote in Python: half the time of a batch whose columns are JSON.
        connection.adapters.register_dumper(list, ListBinaryDumper)


def rows_of(
    conn: Connection, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]]
) -> tuple[str, dict[str, Any]]:
    """A FROM item with alias `r` that yields `rows` under the columns' names, and its parameters.

    SQLAlchemy's own multi-row INSERT with RETURNING is a third as fast on PostgreSQL as arrays are, and SQLite takes
    no arrays: this is one of the few places where the databases are told apart.
    """
    names = [column.name for column in columns]
    if conn.dialect.name == "sqlite":
        fields = ", ".join(f"json_extract(value, '$[{i}]') AS {name}" for i, name in enumerate(names))
        source = f"(SELECT {fields} FROM json_each(:rows)) AS r"  # noqa: S608 - names of our own columns
        return source, {"rows": orjson.dumps(rows).decode()}
    arrays = ", ".join(f"CAST(:r_{name} AS {_pg_type(column)}[])" for name, column in zip(names, columns, strict=True))
    turned = zip(*rows, strict=True) if rows else ((),) * len(names)
    return (
        f"unnest({arrays}) AS r({', '.join(names)})",
        {f"r_{name}": list(values) for name, values in zip(names, turned, strict=True)},
    )


def _pg_type(column: Column[Any]) -> str:
    if isinstance(column.type, BigInteger):
        return "bigint"
    return "integer" if isinstance(column.type, Integer) else "text"


def insert_new(
    conn: Connection, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]], returning: Sequence[Column[Any]]
) -> Sequence[Row[Any]]:
    """Insert the rows that violate no unique index, in one statement, and return `returning` of those only."""
    if not rows:
        return []
    source, parameters = rows_of(conn, columns, rows)
    names = ", ".join(column.name for column in columns)
    statement = (
        f"INSERT INTO {columns[0].table.name} ({names}) SELECT {names} FROM {source} WHERE true "  # noqa: S608
        f"ON CONFLICT DO NOTHING RETURNING {', '.join(column.name for column in returning)}"
    )
    return conn.execute(text(statement), parameters).all()


def update_each(
    conn: Connection, statement: str, columns: Sequence[Column[Any]], rows: Sequence[Sequence[Any]], **parameters: Any
) -> int:
    """Run an UPDATE whose FROM is `{rows}`, under the alias `r` of these; how many rows of its table it changed."""
    if not rows:
        return 0
    source, named = rows_of(conn, columns, rows)
    return conn.execute(text(statement.format(rows=source)), named | parameters).rowcount


def lock_players(conn: Connection, player_ids: Sequence[str], *, shared: bool = False) -> None:
    """Hold others off who would judge these players' deposits, or change what is known of them, until this
    transaction ends; `shared` lets others in who only read.

    Limits per player span codes, and a player may have no record at all, so no row can guard them. SQLite has one
    writer anyway.
    """
    if conn.dialect.name == "postgresql" and player_ids:
        among = "SELECT unnest(CAST(:players AS text[]))"
        conn.execute(text(_player_locks(among, shared=shared)), {"players": list(player_ids)})


def shared_lock_of(players: str) -> str:
    """The statement that holds, for those who only read, the players whom a statement of PostgreSQL's finds."""
    return _player_locks(players, shared=True)


def _player_locks(players: str, *, shared: bool) -> str:
    lock = "pg_advisory_xact_lock_shared" if shared else "pg_advisory_xact_lock"
    return (
        f"SELECT {lock}(k) FROM (SELECT DISTINCT hashtextextended(p, 7) AS k "  # noqa: S608 - statements of our own
        f"FROM ({players}) AS found(p) ORDER BY k) AS keys"
    )
