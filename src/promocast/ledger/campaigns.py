"""Campaigns and their versions. A version is written once and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from promocast.ledger import budgets
from promocast.ledger.engine import insert_new
from promocast.ledger.schema import campaign_versions, campaigns
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class InForce:
    """The version of a campaign that new codes are issued with."""

    id: str
    version: int
    digest: str
    applied_at: Instant
    paused_at: Instant | None


_IN_FORCE = select(
    campaigns.c.id, campaigns.c.version, campaign_versions.c.digest, campaigns.c.applied_at, campaigns.c.paused_at
).join(
    campaign_versions,
    (campaign_versions.c.campaign_id == campaigns.c.id) & (campaign_versions.c.version == campaigns.c.version),
)


def in_force(conn: Connection, campaign_id: str) -> InForce | None:
    row = conn.execute(_IN_FORCE.where(campaigns.c.id == campaign_id)).one_or_none()
    return None if row is None else InForce(*row)


def all_in_force(conn: Connection) -> Sequence[InForce]:
    return [InForce(*row) for row in conn.execute(_IN_FORCE.order_by(campaigns.c.id))]


def versions(conn: Connection, campaign_ids: Sequence[str], *, lock: bool) -> dict[str, int]:
    """{campaign: the version in force}; with `lock` it stays in force until this transaction ends."""
    found = select(campaigns.c.id, campaigns.c.version).where(campaigns.c.id.in_(campaign_ids)).order_by(campaigns.c.id)
    return {row.id: row.version for row in conn.execute(found.with_for_update(read=True) if lock else found)}


def paused(conn: Connection, *, lock: bool = False) -> set[str]:
    """The campaigns that are paused; with `lock` none of them goes on before this transaction ends."""
    found = select(campaigns.c.id).where(campaigns.c.paused_at.is_not(None)).order_by(campaigns.c.id)
    return set(conn.execute(found.with_for_update(read=True) if lock else found).scalars())


def pause(conn: Connection, campaign_id: str, now: Instant) -> bool:
    """Nothing more is issued or sent of it; False where it is paused already, or there is none such."""
    statement = update(campaigns).where(campaigns.c.id == campaign_id, campaigns.c.paused_at.is_(None))
    return conn.execute(statement.values(paused_at=now)).rowcount == 1


def resume(conn: Connection, campaign_id: str) -> bool:
    """False where it was not paused."""
    statement = update(campaigns).where(campaigns.c.id == campaign_id, campaigns.c.paused_at.is_not(None))
    return conn.execute(statement.values(paused_at=None)).rowcount == 1


def document(conn: Connection, campaign_id: str, version: int) -> str:
    """The document of a version, as JSON."""
    found = select(campaign_versions.c.document).where(
        campaign_versions.c.campaign_id == campaign_id, campaign_versions.c.version == version
    )
    return str(conn.execute(found).scalar_one())


def applied(conn: Connection, campaign_id: str) -> list[tuple[Instant, int]]:
    """[(since when, version)] of all versions that were in force, oldest first."""
    v = campaign_versions.c
    found = select(v.applied_at, v.version).where(v.campaign_id == campaign_id).order_by(v.version)
    return [(row.applied_at, row.version) for row in conn.execute(found)]


def apply(conn: Connection, campaign_id: str, document: str, digest: str, now: Instant) -> tuple[int, bool]:
    """Put a document in force; (its version, whether that is a new one)."""
    insert_new(
        conn,
        [campaigns.c.id, campaigns.c.version, campaigns.c.applied_at],
        [(campaign_id, 0, now)],
        [campaigns.c.id],
    )
    version = conn.execute(
        select(campaigns.c.version).where(campaigns.c.id == campaign_id).with_for_update()
    ).scalar_one()
    current = in_force(conn, campaign_id)
    if current is not None and current.digest == digest:
        return current.version, False
    conn.execute(
        insert(campaign_versions).values(
            campaign_id=campaign_id, version=version + 1, document=document, digest=digest, applied_at=now
        )
    )
    conn.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(version=version + 1, applied_at=now))
    budgets.reopen(conn, campaign_id, document)
    return version + 1, True
