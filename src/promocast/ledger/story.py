"""A code's story, for support: what became of it, in order and in words."""

from __future__ import annotations

from typing import Any, Protocol

import orjson
from sqlalchemy import Connection

from promocast.ledger import campaigns, codes, deliveries, events, words
from promocast.ledger.codes import Code
from promocast.model import Instant, parse_rfc3339, rfc3339

# When, in which order among those of one moment, and what is told.
Line = tuple[Instant, int, dict[str, Any]]


class Facts(Protocol):
    """What a code's status is computed from."""

    @property
    def revoked_at(self) -> Instant | None: ...
    @property
    def expires_at(self) -> Instant | None: ...
    @property
    def redeemed(self) -> int: ...
    @property
    def max_redemptions(self) -> int | None: ...


def status(code: Facts, now: Instant) -> str:
    """Revoked, else redeemed when used up, else expired, else issued: computed, never stored."""
    if code.revoked_at is not None:
        return "revoked"
    if code.max_redemptions is not None and code.redeemed >= code.max_redemptions:
        return "redeemed"
    if code.expires_at is not None and now >= code.expires_at:
        return "expired"
    return "issued"


def summaries(conn: Connection, found: list[Code], now: Instant) -> list[dict[str, Any]]:
    """Codes as contract section 2 shows them, without their timelines."""
    ids = [code.id for code in found]
    sent = codes.sent_at(conn, ids)
    redeemed = codes.redemptions_of(conn, ids)
    refs = codes.request_refs(conn, sorted({code.request_id for code in found if code.request_id is not None}))
    return [
        {
            "code": code.code,
            "campaign": code.campaign_id,
            "player_id": code.player_id,
            "request_id": refs.get(code.request_id or 0),
            "status": status(code, now),
            "issued_at": rfc3339(code.issued_at),
            "sent_at": _shown(sent.get(code.id)),
            "shown_at": _shown(code.shown_at),
            "expires_at": _shown(code.expires_at),
            "redemptions": [
                row | {"at": rfc3339(row["at"]), "rolled_back_at": _shown(row["rolled_back_at"])}
                for row in redeemed[code.id]
            ],
        }
        for code in found
    ]


def whole(conn: Connection, code: Code, now: Instant) -> dict[str, Any]:
    """One code with its timeline: [{at, what, detail...}], oldest first."""
    [summary] = summaries(conn, [code], now)
    return summary | {"timeline": timeline(conn, code)}


def timeline(conn: Connection, code: Code) -> list[dict[str, Any]]:
    """Everything that is known of a code: [{at, what, more...}], oldest first; what is planned stands at its time."""
    lines: list[Line] = [_origin(code)]
    for type_, at, data in events.of_code(conn, code.id):
        if type_ != "code.issued":  # which is the origin
            of_delivery = type_.startswith("delivery.")  # which comes after what it is about
            lines.append((at, 5 if of_delivery else 2, {"what": words.of_event(type_, data), "event": type_, **data}))
    journey = orjson.loads(campaigns.document(conn, code.campaign_id, code.campaign_version))["journey"]
    for delivery in deliveries.history(conn, code.id):
        lines += _delivery_lines(delivery, journey[delivery["rule"]]["call"])
    lines.sort(key=lambda line: line[:2])
    return [{"at": rfc3339(at), **line} for at, _, line in lines]


def last(told: list[dict[str, Any]], now: Instant) -> dict[str, Any]:
    """The last line of a timeline that has happened by now."""
    return [line for line in told if parse_rfc3339(line["at"]) <= now or line is told[0]][-1]


def _origin(code: Code) -> Line:
    what = words.of_event("code.issued", {"external": code.request_id is None})
    return code.issued_at, 0, {"what": what, "event": "code.issued", "campaign_version": code.campaign_version}


def _delivery_lines(delivery: dict[str, Any], endpoint: str | None) -> list[Line]:
    state, sent_at = delivery["state"], delivery["sent_at"]
    channel = f"call to {endpoint}" if endpoint else delivery["channel"]
    told = {"channel": delivery["channel"], "rule": delivery["rule"]}
    lines: list[Line] = []
    for attempt in delivery["attempted"]:
        how = f"{channel} attempt {attempt['number']} {attempt['outcome']}: {words.of_reason(attempt['reason'])}"
        lines.append((attempt["closed_at"], 3, {"what": how, **told}))
    if sent_at is not None:
        made = f"{channel} made" if endpoint else words.of_event("delivery.sent", delivery)
        lines.append((sent_at, 3, {"what": made, "event": "delivery.sent", **told}))
    what = _standing(channel, delivery)
    if what is not None:
        tried_at = delivery["attempted_at"] or delivery["planned_at"]
        waits = state in ("planned", "unknown") and delivery["due_at"] is not None
        at = delivery["due_at"] if waits else max(tried_at, sent_at or 0)
        lines.append((at, 4, {"what": what, **told}))
    return lines


def _standing(channel: str, delivery: dict[str, Any]) -> str | None:
    """How a delivery stands that was not sent, or of which more was told since; None where all is said."""
    state, reason, due_at = delivery["state"], delivery["reason"], delivery["due_at"]
    why = f": {words.of_reason(reason)}" if reason else ""
    match state:
        case "sent" | "delivered":
            return None
        case "planned":
            return f"{channel} due{why}"
        case "sending":
            return f"{channel} is being sent"
        case "unknown" if due_at is not None:
            return f"{channel} unknown; looked at again{why}"
        case "unknown":
            return f"{channel} unknown: it may have arrived or not{why}"
        case "skipped":
            return f"{channel} not sent{why}"
        case _ if (reason or "").startswith("suppressed: "):
            return f"{channel} not sent{why}"
        case _:
            return f"{channel} {state}{why}"


def _shown(instant: Instant | None) -> str | None:
    return None if instant is None else rfc3339(instant)
