"""The database server: how it is set up, for whoever looks for what is wrong."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

from promocast.model import Instant

_FACTS = text("""
    SELECT CAST(current_setting('server_version_num') AS integer) / 10000 AS version,
        current_setting('default_transaction_isolation') AS isolation,
        current_setting('fsync') AS fsync,
        current_setting('synchronous_commit') AS synchronous_commit,
        pg_is_in_recovery() AS standby,
        CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) AS now
""")


@dataclass(frozen=True, slots=True)
class Server:
    """`version` is PostgreSQL's major one; `fsync` and `synchronous_commit` are its own words, as "on" and "off"."""

    version: int
    isolation: str
    fsync: str
    synchronous_commit: str
    standby: bool
    now: Instant


def facts(conn: Connection) -> Server | None:
    """None of SQLite, which is no server and is set up by us."""
    if conn.dialect.name != "postgresql":
        return None
    return Server(**conn.execute(_FACTS).one()._asdict())
