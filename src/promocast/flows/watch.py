"""Watch: who has been excluded or opted out since their deliveries were claimed, and what was paused or cancelled.

A sender's process asks the ledger twenty times a second what has changed, and keeps the answer in memory,
where the gate asks it right before each write. So a block stops sends within 250 ms of its commit, at the cost of a few
small reads rather than one per message. A watch that could not look for that long refuses: it fails closed.
"""

from __future__ import annotations

import threading
from typing import Final

from promocast import metrics, progress
from promocast.errors import LedgerUnavailable, Withheld
from promocast.flows.control import CANCELLED, paused
from promocast.flows.exclusion import Exclusions
from promocast.ledger import Ledger, campaigns, orders, players
from promocast.ledger.codes import Code
from promocast.ledger.players import EXCLUDED, Player
from promocast.model import MINUTE, SECOND, Clock, Instant
from promocast.observe import log

UNSURE: Final = "gate_unsure"

EVERY: Final = 0.05  # seconds
# Of the 250 ms that a block may take, what is left after the look is for the way to the provider.
STALE: Final = 175
# A change carries the time of its statement, and is seen when its transaction commits: look back as far as that takes.
OVERLAP: Final = 5 * SECOND
# Longer than any claim is held.
KEPT: Final = 15 * MINUTE


class Watch:
    """
    Args:
        exclusions: what an external service says; None where there is none.
    """

    def __init__(self, ledger: Ledger, clock: Clock, exclusions: Exclusions | None = None) -> None:
        self._ledger = ledger
        self._clock = clock
        self.exclusions = exclusions
        self._looked_at: Instant = 0
        self._changed: dict[str, tuple[Instant, Player]] = {}
        self._paused: set[str] = set()
        self._cancelled: dict[int, Instant] = {}

    def look(self) -> None:
        """Ask once.

        Raises:
            LedgerUnavailable: it does not answer.
        """
        now = self._clock()
        since = (self._looked_at or now) - OVERLAP
        with self._ledger.read() as conn:
            found = players.changed_since(conn, since)
            cancelled = orders.cancelled_since(conn, since)
            self._paused = campaigns.paused(conn)
        known = {request_id: at for request_id, at in self._cancelled.items() if at > now - KEPT}
        self._cancelled = known | dict.fromkeys(cancelled, now)
        kept = {name: entry for name, entry in self._changed.items() if entry[0] > now - KEPT}
        self._changed = kept | {player.player_id: (now, player) for player in found}
        self._looked_at = now

    def check(self, code: Code, channel: str, now: Instant) -> None:
        """
        Raises:
            Withheld: the code's holder must not be contacted on the channel, or whether they may is not known for
                certain; or its campaign is paused, or its request cancelled.
        """
        player_id = code.player_id or ""
        told = self.exclusions
        if now - self._looked_at > STALE or (told is not None and not told.knows(player_id)):
            raise Withheld(UNSURE, SECOND)
        if told is not None and told.excludes(player_id):
            raise Withheld(EXCLUDED)
        if code.request_id in self._cancelled:
            raise Withheld(CANCELLED)
        if code.campaign_id in self._paused:
            raise Withheld(paused(code.campaign_id), SECOND)  # its claim then holds it
        entry = self._changed.get(player_id)
        if entry is not None and (reason := entry[1].refusal(channel, now)):
            raise Withheld(reason)

    def keep_looking(self, stopping: threading.Event) -> None:
        """Look again and again until `stopping` is set; runs in a thread of its own."""
        while not stopping.wait(EVERY):
            progress.beat()
            try:
                self.look()
            except LedgerUnavailable as exc:
                metrics.LEDGER_WAITS.labels("watch").inc()
                log.warning("gate_cannot_look", error=exc)
