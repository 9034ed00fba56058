"""Bringing the book to the shape that this release expects."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select, update

from promocast.errors import LedgerError
from promocast.ledger.engine import Ledger
from promocast.ledger.schema import ledger as ledger_table
from promocast.model import Instant, RandomBytes


def upgrade(ledger: Ledger, random: RandomBytes, now: Instant) -> str | None:
    """Run the migrations that are missing, all in one transaction; the revision that was there before."""
    with ledger.begin() as conn:
        before = _revision(conn)
        config = _config()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
        if conn.execute(select(ledger_table.c.id)).one_or_none() is None:
            conn.execute(insert(ledger_table).values(id=1, ledger_id=random(4).hex(), created_at=now))
        unsigned = update(ledger_table).where(ledger_table.c.secret == "")
        conn.execute(unsigned.values(secret=random(32).hex()))
    return before


def check(ledger: Ledger) -> None:
    """
    Raises:
        LedgerError: the book is of another release than this program.
    """
    with ledger.read() as conn:
        revision = _revision(conn)
    expected = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise LedgerError("The ledger is empty. `promocast ledger upgrade` creates its tables.")
    if revision != expected:
        raise LedgerError(
            f"The ledger is at revision {revision}, this release needs {expected}. Run `promocast ledger upgrade`, "
            "or the release that wrote it."
        )


def revision(ledger: Ledger) -> str | None:
    """The revision that the book is at; None where it is empty."""
    with ledger.read() as conn:
        return _revision(conn)


@dataclass(frozen=True, slots=True)
class Identity:
    """`ledger_id`: eight hex digits that tell this ledger from every other. `secret` signs what comes back to it."""

    ledger_id: str
    secret: bytes = field(repr=False)


def identity(ledger: Ledger) -> Identity:
    with ledger.read() as conn:
        row = conn.execute(select(ledger_table.c.ledger_id, ledger_table.c.secret)).one()
    return Identity(row.ledger_id, bytes.fromhex(row.secret))


def _revision(conn: Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
