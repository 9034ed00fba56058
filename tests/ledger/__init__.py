"""The ledger suite. What its tests start from is planted here, with the ledger's own functions."""

from __future__ import annotations

from promocast.ledger import Connection, campaigns, codes, deliveries, requests
from promocast.ledger.codes import NewCode
from promocast.ledger.deliveries import NewDelivery
from tests.conftest import NOW


def plant_campaign(conn: Connection) -> None:
    campaigns.apply(conn, "welcome", "{}", "digest", NOW)


def plant_codes(conn: Connection, *player_ids: str) -> list[int]:
    """A code CODE-<PLAYER> for each player, of one request; their row ids in the players' order."""
    plant_campaign(conn)
    request_id, _, _ = requests.open_request(conn, "r-1", "welcome", NOW)
    drawn = [NewCode(f"CODE-{p.upper()}", f"CODE{p.upper()}", p, "{}", None) for p in player_ids]
    recorded = codes.record(
        conn,
        drawn,
        campaign_id="welcome",
        campaign_version=1,
        request_id=request_id,
        expires_at=None,
        max_redemptions=1,
        now=NOW,
    )
    return [recorded[player_id] for player_id in player_ids]


def plant_deliveries(conn: Connection, count: int, *, channel: str = "popup") -> list[int]:
    """Planned deliveries, due now, each of a code of its own (player p0, p1, ...); their row ids."""
    code_ids = plant_codes(conn, *(f"p{i}" for i in range(count)))
    planned = deliveries.plan(conn, [NewDelivery(code_id, 0, channel, 0, NOW) for code_id in code_ids], NOW)
    return sorted(delivery_id for _, delivery_id, _ in planned)
