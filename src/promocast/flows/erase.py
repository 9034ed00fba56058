"""Erase: what is personal of a player goes, in one transaction. Their redemptions stay, as somebody's."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from promocast.errors import Conflict
from promocast.ledger import Ledger, erasure, events, players
from promocast.ledger.erasure import Erased
from promocast.ledger.events import Event
from promocast.ledger.seals import ERASED
from promocast.model import Instant, RandomBytes

# In a body that is no JSON, shorter ids would be found in every number.
_SHORTEST_TO_SEARCH: Final = 4


def erase(
    ledger: Ledger,
    player_id: str,
    now: Instant,
    random: RandomBytes,
    *,
    by: str,
    reason: str | None = None,
    blocked_too: bool = False,
) -> Erased:
    """Erase a player from the ledger.

    Raises:
        Conflict: a block of theirs is active, and it would go with them (`blocked_too` lets it).
    """
    pseudonym = ERASED + random(8).hex()
    with ledger.begin() as conn:
        player = players.by_ids(conn, [player_id]).get(player_id)
        if player is not None and player.excluded(now) and not blocked_too:
            raise Conflict(
                "player_blocked",
                "The player is blocked. Once erased, nobody here knows that, and a job that names them again reaches "
                "them: keep the block elsewhere, as in the exclusion service, and say so.",
            )
        erased = erasure.erase(conn, player_id, pseudonym, now, lambda body: without(body, player_id))
        data = {"player_id": pseudonym, "by": by, "reason": reason, "erased": erased.as_json()}
        events.append(conn, Event("player.erased", now, data=data, by=by))
    return erased


def without(body: bytes, player_id: str) -> bytes | None:
    """What is left of a raw body without a player; None where it does not mention them.

    Of a job their recipients are left out. Of anything else nothing is left: whose else it is cannot be known.
    """
    try:
        values: Any = json.loads(body)
    except (ValueError, RecursionError):
        named = rb"(?<![0-9A-Za-z])" + re.escape(player_id.encode()) + rb"(?![0-9A-Za-z])"
        return b"" if len(player_id) >= _SHORTEST_TO_SEARCH and re.search(named, body) else None
    if isinstance(values, dict) and isinstance(values.get("recipients"), list):
        others = [each for each in values["recipients"] if not _mentions(each, player_id)]
        if len(others) == len(values["recipients"]):
            return None
        return json.dumps({**values, "recipients": others}, ensure_ascii=False).encode(errors="surrogatepass")
    return b"" if _mentions(values, player_id) else None


def _mentions(value: Any, player_id: str, key: str = "") -> bool:
    if isinstance(value, dict):
        return any(_mentions(each, player_id, f"{key}.{name}") for name, each in value.items())
    if isinstance(value, list):
        return any(_mentions(each, player_id, key) for each in value)
    # Numbers are amounts and indexes as well, unless their key speaks of a person.
    number = isinstance(value, int) and not isinstance(value, bool)
    of_person = re.search("player|user|customer|member|client|account", key, re.IGNORECASE)
    return value == player_id or (number and of_person is not None and str(value) == player_id)
