"""Export: codes and verdicts, a row each, for finance and for a data warehouse.

Read page by page, each in a transaction of its own that is over before its rows are given out: whoever takes them may
be slow, and neither SQLite's log nor PostgreSQL's old rows have to wait for that. So an export is no picture of one
moment. What was recorded after it began is left out; what changes meanwhile is told as it is when its page is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from promocast.flows import tell
from promocast.ledger import Ledger, codes, deposits, exports, story
from promocast.ledger.deposits import Recorded
from promocast.ledger.exports import Wanted
from promocast.model import Instant, parse_rfc3339, rfc3339
from promocast.settings import VerificationSettings

PAGE: Final = 1_000

CODE_COLUMNS: Final = (
    "code", "campaign", "player_id", "request_id", "status", "issued_at", "sent_at", "shown_at", "expires_at",
    "redemptions", "amount", "currency", "reward", "deposit_id", "redeemed_at", "rolled_back_at",
)  # fmt: skip
DEPOSIT_COLUMNS: Final = (
    "deposit_id", "player_id", "amount", "currency", "status", "occurred_at", "result", "reason", "code", "campaign",
    "reward_type", "reward_amount", "reward_currency", "reward_count", "near_miss", "judged_at",
)  # fmt: skip


def of_codes(
    ledger: Ledger, wanted: Wanted, now: Instant, *, status: str | None = None, page: int = PAGE
) -> Iterator[dict[str, Any]]:
    """A row of CODE_COLUMNS for each wanted code, in the order in which they were recorded; `status` is that of `now`.

    `redemptions` counts the active ones. The columns after it are of the newest active redemption; where none is
    active, deposit_id, redeemed_at and rolled_back_at are of the one that was undone last.
    """
    with ledger.read() as conn:
        first, last = exports.span(conn)
    after = first - 1
    while after < last:
        # Where no index leads to the wanted ones, a page is a stretch of ids: its read is as short as any.
        upto = last if wanted.indexed else min(after + page, last)
        with ledger.read() as conn:
            found = exports.page(conn, wanted, after, upto, page)
            ids = [row.id for row in found]
            sent = codes.sent_at(conn, ids) if ids else {}
            redeemed = codes.redemptions_of(conn, ids) if ids else {}
        for row in found:
            if status is None or story.status(row, now) == status:
                yield _code(row, sent.get(row.id), redeemed[row.id], now)
        after = found[-1].id if len(found) == page else upto


def _code(row: Any, sent_at: Instant | None, redemptions: list[dict[str, Any]], now: Instant) -> dict[str, Any]:
    active = [redemption for redemption in redemptions if redemption["rolled_back_at"] is None]
    undone = sorted(redemptions, key=lambda redemption: redemption["rolled_back_at"] or 0)
    told = (active or undone or [{}])[-1]
    taken = active[-1] if active else {}
    return {
        "code": row.code,
        "campaign": row.campaign_id,
        "player_id": row.player_id,
        "request_id": row.ref,
        "status": story.status(row, now),
        "issued_at": rfc3339(row.issued_at),
        "sent_at": _moment(sent_at),
        "shown_at": _moment(row.shown_at),
        "expires_at": _moment(row.expires_at),
        "redemptions": len(active),
        "amount": taken.get("amount"),
        "currency": taken.get("currency"),
        "reward": taken.get("reward"),
        "deposit_id": told.get("deposit_id"),
        "redeemed_at": _moment(told.get("at")),
        "rolled_back_at": _moment(told.get("rolled_back_at")),
    }


@dataclass(frozen=True, slots=True)
class WantedDeposits:
    """Which deposits; what is None does not matter. `campaign` and `result` are of the verdict. Made from `since` until
    before `until`, by `occurred_at` as they are judged by it."""

    player_id: str | None = None
    campaign: str | None = None
    result: str | None = None
    since: Instant | None = None
    until: Instant | None = None


def of_deposits(
    ledger: Ledger, wanted: WantedDeposits, now: Instant, terms: VerificationSettings, *, page: int = PAGE
) -> Iterator[dict[str, Any]]:
    """A row of DEPOSIT_COLUMNS for each wanted deposit told until `now`, in the order of their ids."""
    after = ""
    while True:
        with ledger.read() as conn:
            found = deposits.page(conn, after, page, player_id=wanted.player_id)
        for known in found:
            row = _deposit(known, terms)
            if known.received_at <= now and _is_wanted(row, wanted):
                yield row
        if len(found) < page:
            return
        after = found[-1].deposit_id


def _deposit(known: Recorded, terms: VerificationSettings) -> dict[str, Any]:
    told = tell.describe(known, terms)
    verdict = known.verdict or {}
    reward, near_miss = verdict.get("reward") or {}, verdict.get("near_miss") or {}
    facts = {
        **told,
        "result": known.result,
        **{name: verdict.get(name) for name in ("reason", "code", "campaign")},
        **{f"reward_{name}": reward.get(name) for name in ("type", "amount", "currency", "count")},
        "near_miss": near_miss.get("text"),
        "judged_at": _moment(known.judged_at),
    }
    return {name: facts[name] for name in DEPOSIT_COLUMNS}


def _is_wanted(row: dict[str, Any], wanted: WantedDeposits) -> bool:
    occurred_at = parse_rfc3339(row["occurred_at"])
    return (
        wanted.campaign in (None, row["campaign"])
        and wanted.result in (None, row["result"])
        and (wanted.since is None or occurred_at >= wanted.since)
        and (wanted.until is None or occurred_at < wanted.until)
    )


def _moment(instant: Instant | None) -> str | None:
    return None if instant is None else rfc3339(instant)
