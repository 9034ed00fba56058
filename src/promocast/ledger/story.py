"""A code's story, for support: what became of it, in order and in words."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection

from promocast.ledger import campaigns, codes, deliveries, events
from promocast.ledger.codes import Code
from promocast.model import Instant, rfc3339

_WORDS = {
    "code.shown": "shown to the player",
    "code.redeemed": "redeemed by deposit {deposit_id}: {amount} {currency}",
    "code.rolled_back": "deposit {deposit_id} was undone; the redemption was given back",
    "code.expired": "expired unused",
    "code.revoked": "revoked by {by}",
    "code.report_refused": "reported by another player; refused",
    "client_action": "client action {action}",
    "delivery.delivered": "arrived by {channel}",
    "delivery.failed": "{channel} failed for good: {reason}",
    "deposit.refused": "deposit {deposit_id} refused: {reason}",
}


def status(code: Code, now: Instant) -> str:
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
    lines: list[tuple[Instant, int, dict[str, Any]]] = []
    origin = "recorded for a CRM" if code.request_id is None else "issued"
    lines.append((code.issued_at, 0, {"what": origin, "campaign_version": code.campaign_version}))
    for type_, at, data in events.of_code(conn, code.id):
        if type_ in _WORDS:
            lines.append((at, 2, {"what": _say(type_, data), "event": type_, **data}))
    journey = orjson.loads(campaigns.document(conn, code.campaign_id, code.campaign_version))["journey"]
    for delivery in deliveries.history(conn, code.id):
        lines += _delivery_lines(delivery, journey[delivery["rule"]]["call"])
    lines.sort(key=lambda line: line[:2])
    return [{"at": rfc3339(at), **line} for at, _, line in lines]


def _say(type_: str, data: dict[str, Any]) -> str:
    said = _WORDS[type_].format_map(
        {
            name: data.get(name, "?")
            for name in ("deposit_id", "amount", "currency", "action", "reason", "channel", "by")
        }
    )
    return f"{said} (refused: another player's code)" if type_ == "client_action" and data.get("refused") else said


def _delivery_lines(delivery: dict[str, Any], endpoint: str | None) -> list[tuple[Instant, int, dict[str, Any]]]:
    state, reason = delivery["state"], delivery["reason"]
    channel = f"call to {endpoint}" if endpoint else delivery["channel"]
    told = {"channel": delivery["channel"], "rule": delivery["rule"]}
    lines = [
        (
            attempt["closed_at"],
            3,
            {"what": f"{channel} attempt {attempt['number']} {attempt['outcome']}: {attempt['reason']}", **told},
        )
        for attempt in delivery["attempted"]
    ]
    if delivery["sent_at"] is not None:
        lines.append(
            (delivery["sent_at"], 3, {"what": f"{channel} made" if endpoint else f"sent by {channel}", **told})
        )
    elif state in ("planned", "unknown") and delivery["due_at"] is not None:
        waits = f"{channel} due" if state == "planned" else f"{channel} unknown; looked at again"
        lines.append((delivery["due_at"], 4, {"what": waits + (f" ({reason})" if reason else ""), **told}))
    elif state not in ("planned", "sending"):
        at = delivery["attempted_at"] or delivery["planned_at"]
        lines.append((at, 4, {"what": f"{channel} {state}" + (f": {reason}" if reason else ""), **told}))
    return lines


def _shown(instant: Instant | None) -> str | None:
    return None if instant is None else rfc3339(instant)
