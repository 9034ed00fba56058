"""Budgets: what of them is spent, over all versions of a campaign, by redemptions that are active.

A budget is opened when a version that has one is applied, and counted anew then; nobody judges the campaign's deposits
in that moment, for whoever judges holds the campaign. Locks: after the codes, the campaigns by id, then their budgets.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, delete, func, insert, select

from promocast.ledger.engine import update_each
from promocast.ledger.schema import budgets, redemptions

# The currency under which redemptions are counted.
COUNT = ""

Spent = dict[tuple[str, str], int]


def reopen(conn: Connection, campaign_id: str, document: str) -> None:
    """Open what the document limits, with what is spent by now; what it does not limit is closed."""
    budget = orjson.loads(document).get("redemption", {}).get("budget") or {}
    limited = [*budget.get("amount", {}), *([COUNT] if budget.get("redemptions") else [])]
    conn.execute(delete(budgets).where(budgets.c.campaign_id == campaign_id))
    if limited:
        so_far = active(conn, campaign_id)
        rows = [{"campaign_id": campaign_id, "currency": c, "spent": so_far.get(c, 0)} for c in limited]
        conn.execute(insert(budgets), rows)


def active(conn: Connection, campaign_id: str) -> dict[str, int]:
    """{currency: units of reward promised by active redemptions}, and their number."""
    r = redemptions.c
    of_campaign = (r.campaign_id == campaign_id, r.rolled_back_at.is_(None))
    by_currency = select(r.currency, func.sum(r.reward_units)).where(*of_campaign, r.reward_units.is_not(None))
    found = {row[0]: int(row[1]) for row in conn.execute(by_currency.group_by(r.currency))}
    return {**found, COUNT: conn.execute(select(func.count()).where(*of_campaign)).scalar_one()}


def spent(conn: Connection, campaign_ids: Sequence[str], *, lock: bool) -> Spent:
    """{(campaign, currency): what is spent} of those of the campaigns that have a budget; `lock` holds them."""
    b = budgets.c
    found = select(b.campaign_id, b.currency, b.spent).where(b.campaign_id.in_(campaign_ids))
    found = found.order_by(b.campaign_id, b.currency)
    rows = conn.execute(found.with_for_update() if lock else found)
    return {(row.campaign_id, row.currency): row.spent for row in rows}


def keep(conn: Connection, amounts: Spent) -> int:
    """Record what is spent by now of budgets that are held; how many there were."""
    b = budgets.c
    rows = [(campaign_id, currency, amount) for (campaign_id, currency), amount in amounts.items()]
    statement = (
        "UPDATE budgets SET spent = r.spent FROM {rows} "
        "WHERE budgets.campaign_id = r.campaign_id AND budgets.currency = r.currency"
    )
    return update_each(conn, statement, [b.campaign_id, b.currency, b.spent], rows)


def of_campaign(conn: Connection, campaign_id: str) -> dict[str, int]:
    """{currency: what is spent}, the number of redemptions under COUNT; empty without a budget."""
    b = budgets.c
    return {
        row.currency: row.spent for row in conn.execute(select(b.currency, b.spent).where(b.campaign_id == campaign_id))
    }
