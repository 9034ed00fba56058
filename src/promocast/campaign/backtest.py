"""Backtest: deposits as they were judged, judged again under an edit of a campaign, in the same order.

Two accounts of the same history are kept. The recorded one follows what the ledger says was redeemed and given back,
so that every verdict can be computed again from what was true then: where that is not what was recorded, the ledger
does not hold all that it depended on, and the judging counts as not reproduced. The edited one follows its own
verdicts. Where both would judge by the same facts, the recorded verdict stands; so an edit that changes nothing changes
no verdict.

What an edit cannot change is taken from what was recorded: that a code was unknown, that the player was excluded, or
had guessed too often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promocast.campaign import journey, redemption
from promocast.campaign.deposit import Deposit
from promocast.campaign.document import Campaign
from promocast.campaign.edit import Edit
from promocast.campaign.judging import COUNT, Claim, Compared, Judging, KnownCode, Outcome, Taken, reward_units
from promocast.campaign.verdict import Candidate, Left, Verdict
from promocast.model import Instant


@dataclass(slots=True)
class Terms:
    """The versions of campaigns, as they are and with the edit. `applied` is {campaign: [(since when, version)]},
    oldest first."""

    edit: Edit
    versions: dict[tuple[str, int], Campaign] = field(default_factory=dict)
    applied: dict[str, list[tuple[Instant, int]]] = field(default_factory=dict)
    _edited: dict[tuple[str, int], Campaign] = field(default_factory=dict)

    def version(self, campaign_id: str, number: int, *, edited: bool) -> Campaign:
        if not edited or campaign_id != self.edit.campaign_id:
            return self.versions[campaign_id, number]
        found = self._edited.get((campaign_id, number))
        if found is None:
            found = self._edited[campaign_id, number] = self.edit.of(self.versions[campaign_id, number])
        return found

    def in_force(self, campaign_id: str, at: Instant, *, edited: bool) -> Campaign:
        known = self.applied[campaign_id]
        number = next((number for since, number in reversed(known) if since <= at), known[0][1])
        return self.version(campaign_id, number, edited=edited)


@dataclass(slots=True)
class Account:
    """Active redemptions by code, by player and campaign, and by budget. Of the edited history only the difference from
    the recorded one is kept, so that its size is that of the edit's effect."""

    by_code: Counter[int] = field(default_factory=Counter)
    by_player: Counter[tuple[str, str]] = field(default_factory=Counter)
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, taken: Taken, times: int) -> None:
        _add(self.by_code, taken.code_id, times)
        _add(self.by_player, (taken.player_id, taken.campaign_id), times)
        _add(self.spent, (taken.campaign_id, COUNT), times)
        if taken.units:
            _add(self.spent, (taken.campaign_id, taken.currency), times * taken.units)


@dataclass(slots=True)
class _Standing:
    """A deposit that may come again: what it came to so far, and what it holds under the edit."""

    compared: Compared
    holds: Taken | None


class Replay:
    """Takes the judgings of a period in their order. `recorded` is what was spent when it began, and follows it;
    `difference` is what the edit changes in it."""

    def __init__(self, terms: Terms, since: Instant, spent: Mapping[tuple[str, str], int]) -> None:
        self.terms = terms
        self.recorded = Account(spent=Counter(spent))
        self.difference = Account()
        self.not_reproduced: list[str] = []
        self._since = since
        self._revoked: set[int] = set()
        self._standing: dict[str, _Standing] = {}
        self._bound: dict[int, str] = {}  # by redemptions under the edit
        self._bound_to: dict[str, list[KnownCode]] = {}

    def revoke(self, code_id: int) -> None:
        """A code is out of use from here on."""
        self._revoked.add(code_id)

    def judge(self, judging: Judging) -> Iterator[Compared]:
        """Judge again; the deposit's comparison, unless the deposit may come again."""
        deposit_id = judging.deposit.deposit_id
        standing = self._standing.get(deposit_id)
        # What was redeemed before the period is so under the edit as well.
        held = judging.given_back if standing is None else standing.holds
        after, holds = self._under_edit(judging, standing)
        self._keep_accounts(judging, held, holds)
        if judging.given_back is not None and standing is None:
            return
        quoted_campaign = judging.quoted.campaign_id if judging.quoted is not None else None
        compared = Compared(judging.deposit, judging.at, judging.outcome, after, quoted_campaign)
        if judging.may_change:
            self._standing[deposit_id] = _Standing(compared, holds)
        else:
            yield compared

    def rest(self) -> Iterator[Compared]:
        """The deposits that might have changed until the period's end."""
        yield from (standing.compared for standing in self._standing.values())

    def spent(self, campaign_id: str, currency: str, *, edited: bool) -> int:
        """How many units of reward the campaign's active redemptions took; under COUNT, how many there are."""
        key = (campaign_id, currency)
        return self.recorded.spent[key] + (self.difference.spent[key] if edited else 0)

    def _under_edit(self, judging: Judging, standing: _Standing | None) -> tuple[Outcome, Taken | None]:
        """What becomes of the deposit under the edit, and what it holds from then on."""
        if judging.given_back is not None and standing is None:
            return judging.outcome, None
        if judging.deposit.negated and (judging.given_back is None or _stands(judging, standing)):
            return _undone(judging, standing), None
        recorded = self._reproduce(judging) if judging.given_back is None else None
        if standing is not None and standing.compared.after.result == "accepted":
            return standing.compared.after, standing.holds
        edited = self._candidates(judging, edited=True)
        if edited == recorded:
            outcome, taken = judging.outcome, judging.taken
        else:
            verdict = _verdict(judging, *edited)
            outcome, taken = Outcome.of(verdict), _taken(verdict, judging.deposit)
        if taken is not None and judging.quoted is not None and edited[0] is not None and edited[0].player_id is None:
            self._bound[taken.code_id] = taken.player_id
            self._bound_to.setdefault(taken.player_id, []).append(judging.quoted)
        return outcome, taken

    def _reproduce(self, judging: Judging) -> tuple[Candidate | None, list[Candidate]]:
        """What was judged about; noted where it does not explain the recorded verdict."""
        recorded = self._candidates(judging, edited=False)
        if Outcome.of(_verdict(judging, *recorded)) != judging.outcome:
            self.not_reproduced.append(judging.deposit.deposit_id)
        return recorded

    def _keep_accounts(self, judging: Judging, held: Taken | None, holds: Taken | None) -> None:
        recorded = [(judging.taken, 1), (judging.given_back, -1)]
        edited = [] if held == holds else [(holds, 1), (held, -1)]
        for taken, times in recorded:
            if taken is not None:
                self.recorded.add(taken, times)
                self.difference.add(taken, -times)
        for taken, times in edited:
            if taken is not None:
                self.difference.add(taken, times)

    def _candidates(self, judging: Judging, *, edited: bool) -> tuple[Candidate | None, list[Candidate]]:
        if judging.deposit.promo_code is not None:
            quoted = judging.quoted
            return None if quoted is None else self._candidate(quoted, judging, edited=edited), []
        player_id = judging.deposit.player_id
        held = {code.id: code for code in (*judging.held, *(self._bound_to.get(player_id, ()) if edited else ()))}
        mine = [
            code
            for code in held.values()
            if code.issued_at <= judging.at and self._holder(code, judging, edited=edited) == player_id
        ]
        mine.sort(key=lambda code: (code.issued_at, code.id), reverse=True)
        return None, [self._candidate(code, judging, edited=edited) for code in mine]

    def _candidate(self, code: KnownCode, judging: Judging, *, edited: bool) -> Candidate:
        player_id, campaign_id = judging.deposit.player_id, code.campaign_id
        issued_with = self.terms.version(campaign_id, code.version, edited=edited)
        limits = self.terms.in_force(campaign_id, judging.at, edited=edited).redemption
        accounts = [self.recorded, self.difference] if edited else [self.recorded]
        left = None
        if limits.budget is not None:
            rewards = {currency: self.spent(campaign_id, currency, edited=edited) for currency in limits.budget.amount}
            left = Left.of(limits.budget, self.spent(campaign_id, COUNT, edited=edited), rewards)
        return Candidate(
            code_id=code.id,
            code=code.code,
            campaign=issued_with,
            player_id=self._holder(code, judging, edited=edited),
            issued_at=code.issued_at,
            expires_at=journey.expiry(issued_with, _anchor(code, issued_with, judging.at)),
            revoked_at=code.revoked_at if self._is_revoked(code) else None,
            redeemed=code.redeemed + sum(account.by_code[code.id] for account in accounts),
            max_redemptions=issued_with.code.max_redemptions,
            player_redemptions=judging.active.get(campaign_id, 0)
            + sum(account.by_player[player_id, campaign_id] for account in accounts),
            per_player=limits.per_player,
            left=left,
        )

    def _is_revoked(self, code: KnownCode) -> bool:
        return code.revoked_at is not None and (code.revoked_at < self._since or code.id in self._revoked)

    def _holder(self, code: KnownCode, judging: Judging, *, edited: bool) -> str | None:
        """Whose the code is by now."""
        if code.holder is not None:
            return code.holder
        if edited and code.id in self._bound:
            return self._bound[code.id]
        return next((claim.player_id for claim in code.claims if self._counts(claim, judging, edited=edited)), None)

    def _counts(self, claim: Claim, judging: Judging, *, edited: bool) -> bool:
        """Whether it was made by now. Redemptions of the period are the edited account's own to make."""
        if edited and claim.by_redemption and claim.at >= self._since:
            return False
        return claim.at <= judging.at if judging.event_id is None else claim.event_id < judging.event_id


def _undone(judging: Judging, standing: _Standing | None) -> Outcome:
    """What becomes of a deposit that held nothing when it was undone: what was said of it before stands, but is void.
    When that was said is not on record where it had no code, so that cannot be computed again."""
    if standing is None or not _stands(judging, standing):
        return judging.outcome
    return standing.compared.after.rolled_back()


def _stands(judging: Judging, standing: _Standing | None) -> bool:
    """Whether what was said of a deposit under the edit stands when it is undone."""
    return standing is not None and (standing.compared.after.code is not None or judging.deposit.promo_code is None)


def _verdict(judging: Judging, quoted: Candidate | None, held: Sequence[Candidate]) -> Verdict:
    """The verdict that falls now; a code that was unknown then is not waited for."""
    return redemption.judge(
        judging.deposit,
        quoted,
        held,
        excluded=judging.excluded,
        grace_until=judging.at,
        now=judging.at,
        guessed_enough=judging.guessed_enough and redemption.is_guess(judging.deposit, quoted),
    )


def _taken(verdict: Verdict, deposit: Deposit) -> Taken | None:
    if verdict.result != "accepted":
        return None
    currency = deposit.currency or ""
    units_given = reward_units(verdict.reward, currency)
    return Taken(verdict.code_id or 0, verdict.campaign or "", deposit.player_id, currency, units_given)


def _anchor(code: KnownCode, campaign: Campaign, at: Instant) -> Instant | None:
    anchor = {"issued": code.issued_at, "sent": code.sent_at, "shown": code.shown_at}[campaign.code.valid_from]
    return None if anchor is None or anchor > at else anchor


def _add(counts: Counter[Any], key: Any, times: int) -> None:
    counts[key] += times
    if not counts[key]:
        del counts[key]
