"""Requests and their parts: what was accepted, whole, before anything was done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, case, func, select, update

from promocast.ledger.engine import insert_new
from promocast.ledger.schema import campaigns, codes, deliveries, request_parts, requests
from promocast.model import PLAYER_CHANNELS, Instant


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a request. `recipients` is JSON: [[player_id, stored recipient], ...]."""

    id: int
    request_id: int
    ref: str
    campaign_id: str
    campaign_version: int
    recipients: list[tuple[str, str]]
    issued_at: Instant | None


def open_request(conn: Connection, ref: str, campaign_id: str, now: Instant) -> tuple[int, str, bool]:
    """(row id, the campaign that its first part named, whether it is new) of the request that producers call `ref`.

    Two at once: the unique index makes the second wait for the first, and then read it.
    """
    columns = [requests.c.ref, requests.c.campaign_id, requests.c.created_at]
    inserted = insert_new(conn, columns, [(ref, campaign_id, now)], [requests.c.id])
    if inserted:
        return inserted[0][0], campaign_id, True
    row = conn.execute(select(requests.c.id, requests.c.campaign_id).where(requests.c.ref == ref)).one()
    return row.id, row.campaign_id, False


def add_part(
    conn: Connection,
    request_id: int,
    campaign_version: int,
    digest: str,
    recipients: Sequence[tuple[str, str]],
    answer: dict[str, Any],
    now: Instant,
) -> int | None:
    """Record a part; its row id, or None where the same part is recorded already."""
    c = request_parts.c
    inserted = insert_new(
        conn,
        [c.request_id, c.campaign_version, c.digest, c.recipients, c.answer, c.accepted_at, c.due_at],
        [
            (
                request_id,
                campaign_version,
                digest,
                orjson.dumps(recipients).decode(),
                orjson.dumps(answer).decode(),
                now,
                now,
            )
        ],
        [c.id],
    )
    return inserted[0][0] if inserted else None


def answer(conn: Connection, request_id: int, digest: str) -> dict[str, Any] | None:
    """What the producer of that part was told, or None where no such part was accepted."""
    found = select(request_parts.c.answer).where(
        request_parts.c.request_id == request_id, request_parts.c.digest == digest
    )
    text = conn.execute(found).scalar_one_or_none()
    return None if text is None else orjson.loads(text)


def part(conn: Connection, part_id: int) -> Part | None:
    """The part, held against others who would issue it until this transaction ends."""
    p = request_parts.c
    row = conn.execute(
        select(
            p.id, p.request_id, requests.c.ref, requests.c.campaign_id, p.campaign_version, p.recipients, p.issued_at
        )
        .join(requests, requests.c.id == p.request_id)
        .where(p.id == part_id)
        .with_for_update(of=request_parts)
    ).one_or_none()
    if row is None:
        return None
    recipients = [(player, stored) for player, stored in orjson.loads(row.recipients or "[]")]
    return Part(row.id, row.request_id, row.ref, row.campaign_id, row.campaign_version, recipients, row.issued_at)


def mark_issued(conn: Connection, part_id: int, refused: Sequence[dict[str, str]], now: Instant) -> None:
    """The part is done: every accepted recipient has a code, or is in `refused` with the reason. What was kept of them
    is with their codes now, and nowhere else."""
    kept = orjson.dumps(refused).decode() if refused else None
    conn.execute(
        update(request_parts)
        .where(request_parts.c.id == part_id)
        .values(issued_at=now, refused=kept, due_at=None, recipients=None)
    )


def due(conn: Connection, before: Instant, limit: int) -> list[int]:
    """Parts that were accepted and not issued, but for those that somebody holds back."""
    r = requests.c
    found = (
        select(request_parts.c.id)
        .join(requests, r.id == request_parts.c.request_id)
        .join(campaigns, campaigns.c.id == r.campaign_id)
        .where(request_parts.c.due_at <= before, campaigns.c.paused_at.is_(None), r.held_at.is_(None))
    )
    return list(conn.execute(found.order_by(request_parts.c.due_at).limit(limit)).scalars())


def summary(conn: Connection, ref: str, now: Instant) -> dict[str, Any] | None:
    """Counts of a request (contract section 2), or None where no part of it was ever accepted.

    `due` counts messages that should be on their way by now: due, being sent, or unknown and to be sent again.
    """
    columns = (requests.c.id, requests.c.campaign_id, requests.c.cancelled_at, requests.c.held_at)
    row = conn.execute(select(*columns).where(requests.c.ref == ref)).one_or_none()
    if row is None:
        return None
    accepted, rejected, refused = 0, 0, 0
    parts = select(request_parts.c.answer, request_parts.c.refused).where(request_parts.c.request_id == row.id)
    for told, refusals in conn.execute(parts):
        was_told = orjson.loads(told)
        accepted += was_told["accepted"]
        rejected += len(was_told["rejected"])
        refused += len(orjson.loads(refusals)) if refusals else 0
    issued, shown, redeemed = conn.execute(
        select(func.count(), func.count(codes.c.shown_at), func.sum(case((codes.c.redeemed > 0, 1), else_=0))).where(
            codes.c.request_id == row.id
        )
    ).one()
    return {
        "request_id": ref,
        "campaign": row.campaign_id,
        "cancelled": row.cancelled_at is not None,
        "held": row.held_at is not None,
        "accepted": accepted,
        "rejected": rejected,
        "issued": issued,
        "refused": refused,
        "shown": shown,
        "redeemed": redeemed or 0,
        **_delivery_counts(conn, row.id, now),
    }


def _delivery_counts(conn: Connection, request_id: int, now: Instant) -> dict[str, Any]:
    """How many messages to players are in which state; calls to systems are not among them."""
    found = (
        select(
            deliveries.c.channel,
            deliveries.c.state,
            func.count(),
            func.sum(case((deliveries.c.due_at <= now, 1), (deliveries.c.state == "sending", 1), else_=0)),
        )
        .join(codes, codes.c.id == deliveries.c.code_id)
        .where(codes.c.request_id == request_id, deliveries.c.channel.in_(PLAYER_CHANNELS))
        .group_by(deliveries.c.channel, deliveries.c.state)
    )
    names = {"delivered": "sent", "rejected": "failed", "exhausted": "failed", "sending": "planned"}
    totals = dict.fromkeys(("sent", "failed", "unknown", "skipped", "planned", "due"), 0)
    channels: dict[str, dict[str, int]] = {}
    for channel, state, count, due in conn.execute(found):
        name = names.get(state, state)
        totals[name] += count
        totals["due"] += due
        per_channel = channels.setdefault(channel, {})
        per_channel[name] = per_channel.get(name, 0) + count
    return {**totals, "channels": channels}
