"""Entries: what judging a batch of deposits has come to, written into the book at its end, one statement a kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from promocast.campaign.document import Campaign
from promocast.campaign.journey import Cause
from promocast.errors import LedgerError
from promocast.flows import rules
from promocast.flows.rules import Fired, Planned
from promocast.ledger import Connection, codes, deposits, events
from promocast.ledger.codes import Code
from promocast.ledger.deposits import Judged, NewRedemption, Redemption
from promocast.ledger.events import Event
from promocast.model import Instant


@dataclass(frozen=True, slots=True)
class _Firing:
    """An event of a code that its journey may wait for. `event` is its place among the events; `key` its key, or of a
    redemption that is not written yet the deposit's id."""

    code: Code
    campaign: Campaign
    cause: Cause
    event: int
    key: str
    redeeming: bool = False


@dataclass(slots=True)
class Entries:
    """Whoever adds to these holds all that they change, so each of them must find what it changes as it was judged."""

    _verdicts: list[Judged] = field(default_factory=list)
    _redeemed: list[NewRedemption] = field(default_factory=list)
    _rolled_back: list[Redemption] = field(default_factory=list)
    _bound: dict[int, str] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)
    _firings: list[_Firing] = field(default_factory=list)

    def verdict(self, judged: Judged) -> None:
        self._verdicts.append(judged)

    def event(self, event: Event) -> None:
        self._events.append(event)

    def bind(self, code: Code, player_id: str) -> None:
        self._bound[code.id] = player_id

    def redeem(self, redemption: NewRedemption, code: Code, campaign: Campaign, event: Event) -> None:
        self._redeemed.append(redemption)
        cause, key = Cause("code.redeemed"), redemption.deposit_id
        self._firings.append(_Firing(code, campaign, cause, len(self._events), key, redeeming=True))
        self._events.append(event)

    def roll_back(self, redeemed: Redemption, code: Code, campaign: Campaign, event: Event) -> None:
        self._rolled_back.append(redeemed)
        cause, key = Cause("code.rolled_back"), str(redeemed.id)
        self._firings.append(_Firing(code, campaign, cause, len(self._events), key))
        self._events.append(event)

    def refuse(
        self, deposit_id: str, reason: str | None, code: Code | None, campaign: Campaign | None, event: Event
    ) -> None:
        if code is not None and campaign is not None:
            cause = Cause("deposit.refused", reason=reason)
            self._firings.append(_Firing(code, campaign, cause, len(self._events), deposit_id))
        self._events.append(event)

    def write(self, conn: Connection, now: Instant) -> Planned:
        """Write all of it; what the journeys have planned.

        Raises:
            LedgerError: something is not as it was judged under lock.
        """
        undone = [redeemed.id for redeemed in self._rolled_back]
        returned = Counter(redeemed.code_id for redeemed in self._rolled_back)
        taken = Counter(one.code_id for one in self._redeemed)
        _all("redemption", len(undone), deposits.roll_back(conn, undone, now))
        # What is given back goes first, for it may be what is taken.
        _all("code given back", len(returned), codes.give_back(conn, returned))
        _all("code redeemed", len(taken), codes.redeem(conn, taken))
        _all("code bound", len(self._bound), codes.bind(conn, self._bound))
        _all("deposit", len(self._verdicts), deposits.keep_verdicts(conn, self._verdicts, now))
        return self._fire(conn, now)

    def _fire(self, conn: Connection, now: Instant) -> Planned:
        redemption_ids = deposits.add_redemptions(conn, self._redeemed, now)
        _all("deposit redeeming", len(self._redeemed), len(redemption_ids))
        event_ids = events.append_all(conn, self._events)
        fired = []
        for one in self._firings:
            key = str(redemption_ids[one.key]) if one.redeeming else one.key
            fired.append(Fired(one.campaign, one.code.id, one.code.recipient, one.cause, event_ids[one.event], key))
        return rules.fire(conn, fired, now)


def _all(what: str, judged: int, found: int) -> None:
    if found != judged:
        raise LedgerError(f"{judged} of kind {what!r} were judged under lock, and {found} are as they were judged.")
