"""Verify: which deposit redeems which code, judged under locks, once.

Whoever judges holds, in this order: the deposits, their players, the codes by id, the campaigns by id, their budgets.
So of two deposits for one code, two of one player, or two for the rest of a budget, the second sees what the first has
committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from promocast import metrics
from promocast.campaign import deposit as deposits_rules
from promocast.campaign import redemption
from promocast.campaign.deposit import Deposit, Window
from promocast.campaign.document import Campaign
from promocast.campaign.label_tags import fold
from promocast.campaign.verdict import Candidate, Verdict
from promocast.flows import Ring, limits, rules, waiting
from promocast.flows.entries import Entries
from promocast.flows.limits import Limits
from promocast.flows.versions import Versions
from promocast.ledger import Connection, Ledger, codes, deposits, guesses, players
from promocast.ledger.codes import Code
from promocast.ledger.deposits import Judged, NewRedemption, Recorded, Redemption
from promocast.ledger.engine import lock_players
from promocast.ledger.events import Event
from promocast.model import Clock, Instant, rfc3339
from promocast.money import units, written
from promocast.settings import VerificationSettings

# What a verdict loses when its deposit is undone; the code, the campaign and the trace stay (contract section 4.1).
_VOID: Final = {"result": "rolled_back", "reason": None, "detail": None, "reward": None, "near_miss": None}


def candidate(code: Code, issued_with: Campaign, limits: Limits, player_redemptions: int) -> Candidate:
    """A code, what it was issued with, and what is in force."""
    return Candidate(
        code_id=code.id,
        code=code.code,
        campaign=issued_with,
        player_id=code.player_id,
        issued_at=code.issued_at,
        expires_at=code.expires_at,
        revoked_at=code.revoked_at,
        redeemed=code.redeemed,
        max_redemptions=code.max_redemptions,
        player_redemptions=player_redemptions,
        per_player=limits.in_force[code.campaign_id].redemption.per_player,
        left=limits.left(code.campaign_id),
    )


@dataclass(slots=True)
class _Bench:
    """What is held while a batch is judged; verdicts of the batch are reflected in it as they fall."""

    conn: Connection
    versions: Versions
    terms: VerificationSettings
    now: Instant
    codes: dict[int, Code]
    spelt: dict[str, int]  # {folded spelling: code}
    holders: dict[str | None, list[int]]  # {player: their codes}
    limits: Limits
    active: dict[tuple[str, str], int]
    excluded: set[str]
    entries: Entries

    def quoted(self, deposit: Deposit) -> Candidate | None:
        found = self.spelt.get(fold(deposit.promo_code or ""))
        return None if found is None else self._candidate(self.codes[found], deposit)

    def held(self, deposit: Deposit) -> list[Candidate]:
        mine = [self.codes[code_id] for code_id in self.holders.get(deposit.player_id, ())]
        mine.sort(key=lambda code: (code.issued_at, code.id), reverse=True)
        return [self._candidate(code, deposit) for code in mine]

    def may_guess(self, deposit: Deposit) -> bool:
        """Whether the player may quote one more code that is not theirs; counted at the deposit's receipt."""
        at, most = deposit.received_at, self.terms.max_guesses
        return guesses.allow(self.conn, deposit.player_id, at, most, deposit.deposit_id)

    def issued_with(self, code: Code) -> Campaign:
        return self.versions.get(self.conn, code.campaign_id, code.campaign_version).campaign

    def count(self, code: Code, player_id: str, change: int) -> None:
        """One active redemption of the code by the player more, or less."""
        self.codes[code.id] = replace(code, redeemed=code.redeemed + change)
        self.active[player_id, code.campaign_id] = self.active.get((player_id, code.campaign_id), 0) + change

    def bind(self, code: Code, player_id: str) -> Code:
        """The code, which was nobody's, as the player's."""
        self.entries.bind(code, player_id)
        self.holders.setdefault(player_id, []).append(code.id)
        return replace(code, player_id=player_id)

    def _candidate(self, code: Code, deposit: Deposit) -> Candidate:
        used = self.active.get((deposit.player_id, code.campaign_id), 0)
        return candidate(code, self.issued_with(code), self.limits, used)


@dataclass(frozen=True, slots=True)
class Anew:
    """Somebody's wish that refused deposits be judged as if for the first time."""

    by: str
    reason: str


def judge(
    ledger: Ledger,
    ids: Sequence[str],
    *,
    versions: Versions,
    terms: VerificationSettings,
    clock: Clock,
    ring: Ring,
    anew: Anew | None = None,
) -> dict[str, dict[str, Any]]:
    """Judge recorded deposits; {deposit id: verdict}. Judging again changes nothing unless something new was told, or
    it is asked for (`anew`), which is recorded."""
    verdicts: dict[str, dict[str, Any]] = {}
    with ledger.begin() as conn:
        told = deposits.hold(conn, sorted(set(ids)))
        window = Window(terms.occurred_before, terms.occurred_after)
        believed = {
            known.deposit_id: deposits_rules.believed(
                known.deposit_id, known.player_id, known.messages, known.received_at, window
            )
            for known in told.values()
        }
        judged_before = [known.deposit_id for known in told.values() if known.result is not None]
        redeemed = deposits.redemption_of(conn, judged_before) if judged_before else {}
        bench = _open_bench(conn, list(believed.values()), redeemed, versions, terms, clock)
        for deposit in sorted(believed.values(), key=lambda d: (d.received_at, d.deposit_id)):
            known = told[deposit.deposit_id]
            if anew is not None:
                known = _reopened(bench, known, anew)
            verdicts[deposit.deposit_id] = _judge_one(bench, deposit, known, redeemed.get(deposit.deposit_id))
        planned = bench.entries.write(conn, bench.now)
        bench.limits.keep(conn)
    for (result, reason), count in Counter((v["result"], v.get("reason") or "") for v in verdicts.values()).items():
        metrics.DEPOSITS_JUDGED.labels(result, reason).inc(count)
    rules.ring_due(ring, planned, bench.now)
    unknown = {fold(believed[i].promo_code or "") for i, v in verdicts.items() if v.get("result") == "waiting"}
    waiting.look_for(ledger, sorted(unknown), bench.now, ring)
    return verdicts


def _open_bench(
    conn: Connection,
    batch: Sequence[Deposit],
    redeemed: dict[str, Redemption],
    versions: Versions,
    terms: VerificationSettings,
    clock: Clock,
) -> _Bench:
    player_ids = sorted({deposit.player_id for deposit in batch})
    lock_players(conn, player_ids)
    quoted = sorted({fold(deposit.promo_code) for deposit in batch if deposit.promo_code is not None})
    unquoted = sorted({deposit.player_id for deposit in batch if deposit.promo_code is None and deposit.approved})
    held = codes.hold_for_judging(conn, quoted, unquoted, sorted(r.code_id for r in redeemed.values()))
    in_force = limits.hold(conn, sorted({code.campaign_id for code in held}), versions)
    # Now that all is held: whoever had to wait for another judging has the later time.
    now = clock()
    holders: dict[str | None, list[int]] = {}
    for code in held:
        holders.setdefault(code.player_id, []).append(code.id)
    return _Bench(
        conn=conn,
        versions=versions,
        terms=terms,
        now=now,
        codes={code.id: code for code in held},
        spelt={code.folded: code.id for code in held},
        holders=holders,
        limits=in_force,
        active=deposits.active_redemptions(conn, player_ids) if in_force.per_player else {},
        excluded={player.player_id for player in players.by_ids(conn, player_ids).values() if player.excluded(now)},
        entries=Entries(),
    )


def _reopened(bench: _Bench, known: Recorded, anew: Anew) -> Recorded:
    """The deposit without its refusal; any other verdict stands."""
    if known.result not in ("refused", "no_code"):
        return known
    verdict = known.verdict or {}
    data = {"deposit_id": known.deposit_id, "by": anew.by, "reason": anew.reason, "was": verdict.get("reason")}
    code_id = bench.spelt.get(fold(verdict.get("code") or ""))
    campaign_id = None if code_id is None else bench.codes[code_id].campaign_id
    bench.entries.event(Event("deposit.reverified", bench.now, campaign_id, code_id, data, by=anew.by))
    return replace(known, verdict=None)


def _judge_one(bench: _Bench, deposit: Deposit, known: Recorded, redeemed: Redemption | None) -> dict[str, Any]:
    before = known.verdict
    if redeemed is not None:
        if deposit.negated and redeemed.rolled_back_at is None and before is not None:
            before = _roll_back(bench, deposit, redeemed, before)
        return _keep(bench, deposit, before or {})
    quoted = bench.quoted(deposit) if deposit.promo_code is not None else None
    looks_for_code = _looks_for_code(bench, deposit, quoted)
    if before is not None and _stands(before, deposit, quoted):
        kept = {**before, **_VOID} if deposit.negated else before
        return _keep(bench, deposit, kept, looks_for_code=looks_for_code)
    verdict = redemption.judge(
        deposit,
        quoted,
        bench.held(deposit) if deposit.promo_code is None else [],
        excluded=deposit.player_id in bench.excluded,
        grace_until=deposit.received_at + bench.terms.grace,
        now=bench.now,
        guessed_enough=redemption.is_guess(deposit, quoted) and not bench.may_guess(deposit),
    )
    if verdict.result == "accepted":
        _redeem(bench, deposit, verdict)
    elif verdict.result == "refused" and deposit.approved:
        data = {
            "deposit_id": deposit.deposit_id,
            "player_id": deposit.player_id,
            "amount": _amount(deposit),
            "currency": deposit.currency,
            "reason": verdict.reason,
            "near_miss": verdict.near_miss,
            "excluded": deposit.player_id in bench.excluded,
            **_as_judged(deposit),
        }
        event = Event("deposit.refused", bench.now, verdict.campaign, verdict.code_id, data)
        code = bench.codes.get(verdict.code_id or 0)  # none, where the deposit concerns no code of the player's
        issued_with = None if code is None else bench.issued_with(code)
        bench.entries.refuse(deposit.deposit_id, verdict.reason, code, issued_with, event)
    return _keep(bench, deposit, verdict.as_json(deposit.deposit_id), looks_for_code=looks_for_code)


def _stands(before: dict[str, Any], deposit: Deposit, quoted: Candidate | None) -> bool:
    """Whether a verdict stands whatever else was told, but for what is void once its deposit is undone.

    What was never approved does not, nor what had no code while the deposit quotes one by now; nor a guess too many
    that turns out to have been none.
    """
    if before["code"] is not None:
        return True
    if before["result"] in ("no_code", "rolled_back"):
        return deposit.promo_code is None
    if before["reason"] == "too_many_attempts" and not redemption.is_guess(deposit, quoted):
        return False
    return before["result"] == "refused" and before["reason"] != "not_approved" and not deposit.negated


def _looks_for_code(bench: _Bench, deposit: Deposit, quoted: Candidate | None) -> bool:
    """Whether the quoted code may still be recorded, which would change the verdict: also that of an undone deposit,
    and of one that was a guess too many."""
    unknown = deposit.promo_code is not None and quoted is None
    return unknown and deposit.approved and bench.now < deposit.received_at + bench.terms.grace


def _keep(bench: _Bench, deposit: Deposit, verdict: dict[str, Any], *, looks_for_code: bool = False) -> dict[str, Any]:
    due_at = deposit.received_at + bench.terms.grace if looks_for_code else None
    waits_for = fold(deposit.promo_code or "") if looks_for_code else None
    bench.entries.verdict(Judged(deposit.deposit_id, verdict, due_at, waits_for))
    return verdict


def _redeem(bench: _Bench, deposit: Deposit, verdict: Verdict) -> None:
    code = bench.codes[verdict.code_id or 0]
    if code.player_id is None:
        code = bench.bind(code, deposit.player_id)
    currency, reward = deposit.currency or "", verdict.reward
    reward_units = units(Decimal(reward["amount"]), currency) if reward and "amount" in reward else None
    amount = _amount(deposit) or ""
    bench.count(code, deposit.player_id, 1)
    bench.limits.spend(code.campaign_id, currency, reward_units or 0)
    redemption = NewRedemption(
        code_id=code.id,
        deposit_id=deposit.deposit_id,
        campaign_id=code.campaign_id,
        player_id=deposit.player_id,
        amount=amount,
        currency=currency,
        reward=reward,
        reward_units=reward_units,
    )
    data = {
        "deposit_id": deposit.deposit_id,
        "player_id": deposit.player_id,
        "amount": amount,
        "currency": currency,
        "reward": reward,
        **_as_judged(deposit),
    }
    event = Event("code.redeemed", bench.now, code.campaign_id, code.id, data)
    bench.entries.redeem(redemption, code, bench.issued_with(code), event)


def _amount(deposit: Deposit) -> str | None:
    return None if deposit.amount is None else written(deposit.amount, deposit.currency or "")


def _as_judged(deposit: Deposit) -> dict[str, Any]:
    """What of the deposit later messages may still tell, as it was believed when it was judged."""
    return {
        "payment_method": deposit.payment_method,
        "deposit_index": deposit.deposit_index,
        "occurred_at": rfc3339(deposit.occurred_at),
        "quoted": deposit.promo_code is not None,
    }


def _roll_back(bench: _Bench, deposit: Deposit, redeemed: Redemption, verdict: dict[str, Any]) -> dict[str, Any]:
    code = bench.codes[redeemed.code_id]
    bench.count(code, deposit.player_id, -1)
    bench.limits.give_back(code.campaign_id, redeemed.currency, redeemed.reward_units or 0)
    data = {"deposit_id": deposit.deposit_id, "player_id": deposit.player_id}
    event = Event("code.rolled_back", bench.now, code.campaign_id, code.id, data)
    bench.entries.roll_back(redeemed, code, bench.issued_with(code), event)
    return {**verdict, **_VOID}
