"""The invariants that no single constraint can state, checked over the whole book."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, text

from promocast.ledger import chain

# Each finds what must not be; the words say what is wrong with a row.
_CHECKS: Final = {
    "code {}: its active redemptions are not what it counts": """
        SELECT c.id FROM codes c LEFT JOIN redemptions r ON r.code_id = c.id AND r.rolled_back_at IS NULL
        GROUP BY c.id, c.redeemed HAVING COUNT(r.id) <> c.redeemed""",
    "deposit {}: accepted, and no redemption of it is active": """
        SELECT d.deposit_id FROM deposits d WHERE d.result = 'accepted' AND NOT EXISTS (
        SELECT 1 FROM redemptions r WHERE r.deposit_id = d.deposit_id AND r.rolled_back_at IS NULL)""",
    "deposit {}: not accepted, and a redemption of it is active": """
        SELECT d.deposit_id FROM deposits d JOIN redemptions r ON r.deposit_id = d.deposit_id
        WHERE r.rolled_back_at IS NULL AND (d.result IS NULL OR d.result <> 'accepted')""",
    "redemption {}: of another campaign than its code": """
        SELECT r.id FROM redemptions r JOIN codes c ON c.id = r.code_id WHERE r.campaign_id <> c.campaign_id""",
    "budget {}: what is spent is not what active redemptions took": """
        SELECT b.campaign_id || ' ' || CASE b.currency WHEN '' THEN '(redemptions)' ELSE b.currency END FROM budgets b
        WHERE b.spent <> (SELECT CASE b.currency WHEN '' THEN COUNT(*)
          ELSE COALESCE(SUM(CASE WHEN r.currency = b.currency THEN r.reward_units END), 0) END
        FROM redemptions r WHERE r.campaign_id = b.campaign_id AND r.rolled_back_at IS NULL)""",
    "delivery {}: final, and still to be looked at": """
        SELECT d.id FROM deliveries d
        WHERE d.due_at IS NOT NULL AND d.state IN ('sent', 'delivered', 'rejected', 'exhausted', 'skipped')""",
    "delivery {}: open, and never to be looked at": """
        SELECT d.id FROM deliveries d WHERE d.due_at IS NULL AND d.state IN ('planned', 'sending')""",
    "delivery {}: sent without a time": """
        SELECT d.id FROM deliveries d WHERE d.sent_at IS NULL AND d.state IN ('sent', 'delivered')""",
    "request part {}: not issued, and never to be looked at": """
        SELECT p.id FROM request_parts p WHERE p.issued_at IS NULL AND p.due_at IS NULL""",
}


def violations(conn: Connection) -> list[str]:
    """One sentence for each row at fault; empty if the books balance."""
    found: list[str] = []
    for words, query in _CHECKS.items():
        found += [words.format(row[0]) for row in conn.execute(text(query))]
    return [*found, *chain.violations(conn)]
