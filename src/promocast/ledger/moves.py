"""Moves: addresses that have another name by now, kept over all campaigns."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, insert, select, update

from promocast.ledger.schema import moved_addresses
from promocast.ledger.suppressions import digest
from promocast.model import Instant


def record(conn: Connection, channel: str, old: str, new: str, now: Instant) -> None:
    """`old` is called `new` from now on, and so is whatever had moved to `old` before."""
    m = moved_addresses.c
    conn.execute(update(moved_addresses).where(m.channel == channel, m.address == old).values(address=new))
    conn.execute(delete(moved_addresses).where(m.channel == channel, m.digest.in_((digest(old), digest(new)))))
    conn.execute(insert(moved_addresses).values(channel=channel, digest=digest(old), address=new, moved_at=now))


def forget(conn: Connection, channel: str, address: str) -> None:
    """Delete where the address has moved to, and from where it came."""
    m = moved_addresses.c
    moved = (m.digest == digest(address)) | (m.address == address)
    conn.execute(delete(moved_addresses).where(m.channel == channel, moved))


def among(conn: Connection, channel: str, addresses: Collection[str]) -> dict[str, str]:
    """{address: what it is called now} of those of the addresses that have moved."""
    if not addresses:
        return {}
    m = moved_addresses.c
    by_digest = {digest(address): address for address in addresses}
    found = select(m.digest, m.address).where(m.channel == channel, m.digest.in_(list(by_digest)))
    return {by_digest[row.digest]: row.address for row in conn.execute(found)}
