"""Suppressions: addresses that must not be used, over all campaigns, until they expire or are lifted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection, or_, select, tuple_, update

from promocast.ledger.engine import insert_new
from promocast.ledger.schema import suppressions
from promocast.model import Address, Instant, PushSubscription


def digest(address: Address) -> str:
    """What an address is known by here. An e-mail address is the same in any case; a subscription is its endpoint."""
    text = address.endpoint if isinstance(address, PushSubscription) else address.strip().casefold()
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def suppress(conn: Connection, channel: str, digest: str, reason: str, at: Instant, expires_at: Instant | None) -> bool:
    """Suppress an address since `at`; the longer of two suppressions stands. False where this changes nothing: it is
    suppressed for as long already, or what was told of it is newer than `at`."""
    s = suppressions.c
    columns = [s.channel, s.digest, s.reason, s.created_at, s.expires_at]
    if insert_new(conn, columns, [(channel, digest, reason, at, expires_at)], [s.digest]):
        return True
    shorter = s.expires_at.is_not(None) if expires_at is None else s.expires_at < expires_at
    statement = update(suppressions).where(s.channel == channel, s.digest == digest, shorter, s.created_at <= at)
    return conn.execute(statement.values(reason=reason, created_at=at, expires_at=expires_at)).rowcount == 1


def lift(conn: Connection, channel: str, digest: str, reason: str, at: Instant) -> None:
    """The address may be used again since `at`. That is remembered: older news of it may still be under way."""
    s = suppressions.c
    columns = [s.channel, s.digest, s.reason, s.created_at, s.expires_at]
    if not insert_new(conn, columns, [(channel, digest, reason, at, at)], [s.digest]):
        older = update(suppressions).where(s.channel == channel, s.digest == digest, s.created_at <= at)
        conn.execute(older.values(reason=reason, created_at=at, expires_at=at))


def among(conn: Connection, addresses: Sequence[tuple[str, str]], now: Instant) -> dict[tuple[str, str], str]:
    """{(channel, digest): reason} of those of the addresses that are suppressed now."""
    if not addresses:
        return {}
    s = suppressions.c
    found = select(s.channel, s.digest, s.reason).where(
        tuple_(s.channel, s.digest).in_(addresses), or_(s.expires_at.is_(None), s.expires_at > now)
    )
    return {(row.channel, row.digest): row.reason for row in conn.execute(found)}
