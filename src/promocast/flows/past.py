"""Past: what was judged in a period, read with all that it takes to judge it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from heapq import merge
from itertools import groupby, islice
from typing import Any, Final, TypeVar

from promocast.campaign import deposit as deposits_rules
from promocast.campaign.backtest import Terms
from promocast.campaign.deposit import RANK, Deposit, Window
from promocast.campaign.judging import Claim, Judging, KnownCode, Outcome, Taken, reward_units
from promocast.campaign.label_tags import fold
from promocast.flows.versions import Versions
from promocast.ledger import Connection, campaigns, codes, deposits, history
from promocast.ledger.deposits import Recorded
from promocast.ledger.history import PastCode, Turn
from promocast.model import Instant, parse_rfc3339

_T = TypeVar("_T")

CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Period:
    """Judgings from `since` until before `until`."""

    since: Instant
    until: Instant


@dataclass(frozen=True, slots=True)
class _Moment:
    """A deposit at one of its judgings; `turn` is the event that it left. Without a deposit: a code is revoked."""

    at: Instant
    turn: Turn | None
    known: Recorded | None

    @property
    def order(self) -> tuple[Instant, Instant, str]:
        """As a batch is judged."""
        return (self.at, self.known.received_at, self.known.deposit_id) if self.known else (self.at, 0, "")


@dataclass(slots=True)
class Past:
    """Reads judgings with what they ask for."""

    conn: Connection
    period: Period
    window: Window
    versions: Versions
    terms: Terms
    anew: set[str] = field(default_factory=set)

    def know_campaigns(self, campaign_ids: Iterable[str]) -> None:
        for campaign_id in campaign_ids:
            if campaign_id not in self.terms.applied:
                applied = campaigns.applied(self.conn, campaign_id)
                for _, number in applied:
                    self.terms.versions[campaign_id, number] = self.versions.get(
                        self.conn, campaign_id, number
                    ).campaign
                self.terms.applied[campaign_id] = applied

    def judgings(self) -> Iterator[Judging | int]:
        """The judgings of the period in their order, and among them the ids of codes that are revoked."""
        self.anew = history.judged_anew(self.conn, self.period.since, self.period.until)
        moments = merge(self._with_events(), self._silent(), key=lambda moment: moment.order)
        for chunk in _chunks(moments):
            yield from _Chunk(self, chunk).judgings()

    def _with_events(self) -> Iterator[_Moment]:
        latest = 0
        for chunk in _chunks(history.turns(self.conn, self.period.since, self.period.until)):
            known = deposits.by_ids(self.conn, [t.data["deposit_id"] for t in chunk if "deposit_id" in t.data])
            for turn in chunk:
                # Ids rule; of times only those that agree with them say where to put what left no event.
                latest = max(latest, turn.at)
                yield _Moment(latest, turn, known.get(turn.data.get("deposit_id", "")))

    def _silent(self) -> Iterator[_Moment]:
        found = deposits.judged_silently(self.conn, self.period.since, self.period.until)
        for at, batch in groupby(found, key=lambda known: known.judged_at or 0):
            for known in sorted(batch, key=lambda known: (known.received_at, known.deposit_id)):
                yield _Moment(at, None, known)


class _Chunk:
    """Judgings that are read together."""

    def __init__(self, past: Past, moments: Sequence[_Moment]) -> None:
        self._past = past
        self._moments = moments
        self._believed = {id(moment): self._as_believed(moment, moment.known) for moment in moments if moment.known}
        deposited = list(self._believed.values())
        quoted = {fold(deposit.promo_code) for deposit in deposited if deposit.promo_code is not None}
        unquoted = {deposit.player_id for deposit in deposited if deposit.promo_code is None}
        ids = {m.turn.code_id for m in moments if m.turn is not None and m.turn.code_id is not None}
        conn, since = past.conn, past.period.since
        found = history.codes_of(conn, sorted(quoted), sorted(unquoted), sorted(ids), since)
        past.know_campaigns({code.campaign_id for code in found})
        self._codes = self._known(found)
        self._by_folded = {code.folded: self._codes[code.id] for code in found}
        self._by_player: dict[str, list[KnownCode]] = {}
        for code in found:
            if code.player_id is not None:
                self._by_player.setdefault(code.player_id, []).append(self._codes[code.id])
        self._active = history.active_redemptions(conn, sorted({d.player_id for d in deposited}), since)
        undone = [m.known.deposit_id for m in moments if m.known and m.turn and m.turn.type == "code.rolled_back"]
        self._redemptions = deposits.redemption_of(conn, undone)

    def judgings(self) -> Iterator[Judging | int]:
        for moment in self._moments:
            if moment.turn is not None and moment.turn.type == "code.revoked":
                yield moment.turn.code_id or 0
            elif moment.known is not None:
                yield self._judging(moment, moment.known)

    def _judging(self, moment: _Moment, known: Recorded) -> Judging:
        turn, deposit = moment.turn, self._believed[id(moment)]
        outcome = self._outcome(turn, known)
        quoted = self._by_folded.get(fold(deposit.promo_code)) if deposit.promo_code is not None else None
        unknown = outcome.reason == "unknown_code" or (quoted is not None and quoted.issued_at > moment.at)
        return Judging(
            at=moment.at,
            event_id=None if turn is None else turn.id,
            deposit=deposit,
            outcome=outcome,
            taken=_taken(turn, deposit),
            given_back=self._given_back(turn, deposit),
            quoted=None if unknown else quoted,
            held=self._by_player.get(deposit.player_id, ()) if deposit.promo_code is None else (),
            active=self._active.get(deposit.player_id, {}),
            excluded=_was_excluded(turn, known, outcome),
            guessed_enough=outcome.reason == "too_many_attempts",
            may_change=known.result == "rolled_back" or known.deposit_id in self._past.anew,
        )

    def _outcome(self, turn: Turn | None, known: Recorded) -> Outcome:
        if turn is None:
            verdict = known.verdict or {}
            return Outcome(**{name: verdict[name] for name in ("result", "code", "campaign", "reason", "reward")})
        code = self._codes[turn.code_id].code if turn.code_id is not None else None
        match turn.type:
            case "code.redeemed":
                return Outcome("accepted", code, turn.campaign_id, reward=turn.data["reward"])
            case "deposit.refused":
                return Outcome("refused", code, turn.campaign_id, turn.data["reason"])
            case _:
                return Outcome("rolled_back", code, turn.campaign_id)

    def _as_believed(self, moment: _Moment, known: Recorded) -> Deposit:
        """The deposit as it was then. Later messages may have undone it, or have told what it lacked."""
        deposit = deposits_rules.believed(
            known.deposit_id, known.player_id, known.messages, known.received_at, self._past.window
        )
        turn = moment.turn
        if turn is None or turn.type == "code.rolled_back":
            return deposit
        return replace(deposit, rank=RANK["approved"], **_facts(turn.data))

    def _known(self, found: Sequence[PastCode]) -> dict[int, KnownCode]:
        claims = self._claims(found)
        sent = self._sent(found)
        return {
            code.id: KnownCode(
                id=code.id,
                code=code.code,
                campaign_id=code.campaign_id,
                version=code.campaign_version,
                holder=None if code.external else code.player_id,
                issued_at=code.issued_at,
                sent_at=code.sent_at or sent.get(code.id),
                shown_at=code.shown_at,
                revoked_at=code.revoked_at,
                redeemed=code.redeemed,
                claims=claims.get(code.id, ()),
            )
            for code in found
        }

    def _claims(self, found: Sequence[PastCode]) -> dict[int, list[Claim]]:
        external = [code for code in found if code.external]
        claims: dict[int, list[Claim]] = {code.id: [] for code in external}
        for code_id, turn in history.claims(self._past.conn, list(claims)) if claims else ():
            claims[code_id].append(Claim(turn.id, turn.at, turn.data["player_id"], turn.type == "code.redeemed"))
        for code in external:
            first = claims[code.id][0].player_id if claims[code.id] else None
            if code.player_id is not None and first != code.player_id:
                # Earlier releases did not say when a report made it the player's: it was so all the time.
                claims[code.id].insert(0, Claim(0, code.issued_at, code.player_id, by_redemption=False))
        return claims

    def _sent(self, found: Sequence[PastCode]) -> dict[int, Instant]:
        """When codes were first sent whose life begins with that by the edit; otherwise codes know it themselves."""
        edit = self._past.terms.edit
        if edit.changes.get("code", {}).get("valid_from") != "sent":
            return {}
        unsent = [code.id for code in found if code.sent_at is None and code.campaign_id == edit.campaign_id]
        return codes.sent_at(self._past.conn, unsent)

    def _given_back(self, turn: Turn | None, deposit: Deposit) -> Taken | None:
        if turn is None or turn.type != "code.rolled_back":
            return None
        redeemed = self._redemptions[deposit.deposit_id]
        taken_units = redeemed.reward_units or 0
        return Taken(redeemed.code_id, turn.campaign_id or "", deposit.player_id, redeemed.currency, taken_units)


def _taken(turn: Turn | None, deposit: Deposit) -> Taken | None:
    if turn is None or turn.type != "code.redeemed":
        return None
    currency, reward = turn.data["currency"], turn.data["reward"]
    taken_units = reward_units(reward, currency)
    return Taken(turn.code_id or 0, turn.campaign_id or "", deposit.player_id, currency, taken_units)


def _facts(data: Mapping[str, Any]) -> dict[str, Any]:
    """What an event says of the deposit as it was believed. Events of earlier releases say less."""
    facts = {name: data[name] for name in ("payment_method", "deposit_index") if name in data}
    if data.get("currency"):
        facts["currency"] = data["currency"]
        facts["amount"] = Decimal(data["amount"]) if data["amount"] else None
    if "occurred_at" in data:
        facts["occurred_at"] = parse_rfc3339(data["occurred_at"])
    if data.get("quoted") is False:
        facts["promo_code"] = None
    return facts


def _was_excluded(turn: Turn | None, known: Recorded, outcome: Outcome) -> bool:
    if turn is not None:
        return bool(turn.data.get("excluded", outcome.reason == "player_excluded"))
    trace = (known.verdict or {}).get("trace", ())
    return any(check["rule"] == "player_excluded" and not check["passed"] for check in trace)


def _chunks(found: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(found)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
