"""Verify: which deposit redeems which code, judged under locks, once.

Whoever judges holds, in this order: the deposits, their players, the codes by id, the campaigns by id, their budgets.
So of two deposits for one code, two of one player, or two for the rest of a budget, the second sees what the first has
committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from promocast import metrics
from promocast.campaign import deposit as deposits_rules
from promocast.campaign import redemption
from promocast.campaign.deposit import Deposit, Window
from promocast.campaign.document import Campaign
from promocast.campaign.journey import Cause
from promocast.campaign.label_tags import fold
from promocast.campaign.verdict import Candidate, Verdict
from promocast.errors import LedgerError
from promocast.flows import Ring, limits, rules, waiting
from promocast.flows.limits import Limits
from promocast.flows.rules import Fired
from promocast.flows.versions import Versions
from promocast.ledger import Connection, Ledger, codes, deposits, events, guesses, players
from promocast.ledger.codes import Code
from promocast.ledger.deposits import Recorded, Redemption
from promocast.ledger.engine import lock_players
from promocast.ledger.events import Event
from promocast.model import Clock, Instant, rfc3339
from promocast.money import units, written
from promocast.settings import VerificationSettings


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
    limits: Limits
    active: dict[tuple[str, str], int]
    excluded: set[str]
    planned: list[tuple[str, int, Instant]]

    def quoted(self, deposit: Deposit) -> Candidate | None:
        folded = fold(deposit.promo_code or "")
        found = next((code for code in self.codes.values() if code.folded == folded), None)
        return None if found is None else self._candidate(found, deposit)

    def held(self, deposit: Deposit) -> list[Candidate]:
        mine = [code for code in self.codes.values() if code.player_id == deposit.player_id]
        mine.sort(key=lambda code: (code.issued_at, code.id), reverse=True)
        return [self._candidate(code, deposit) for code in mine]

    def may_guess(self, deposit: Deposit) -> bool:
        """Whether the player may quote one more code that is not theirs; counted at the deposit's receipt."""
        at, most = deposit.received_at, self.terms.max_guesses
        return guesses.allow(self.conn, deposit.player_id, at, most, deposit.deposit_id)

    def _candidate(self, code: Code, deposit: Deposit) -> Candidate:
        issued_with = self.versions.get(self.conn, code.campaign_id, code.campaign_version).campaign
        return candidate(code, issued_with, self.limits, self.active.get((deposit.player_id, code.campaign_id), 0))


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
        redeemed = deposits.redemption_of(conn, list(told))
        bench = _open_bench(conn, list(believed.values()), redeemed, versions, terms, clock)
        for deposit in sorted(believed.values(), key=lambda d: (d.received_at, d.deposit_id)):
            known = told[deposit.deposit_id]
            if anew is not None:
                known = _reopened(bench, known, anew)
            verdicts[deposit.deposit_id] = _judge_one(bench, deposit, known, redeemed.get(deposit.deposit_id))
        bench.limits.keep(conn)
    for verdict in verdicts.values():
        metrics.DEPOSITS_JUDGED.labels(verdict["result"], verdict.get("reason") or "").inc()
    rules.ring_due(ring, bench.planned, bench.now)
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
    return _Bench(
        conn=conn,
        versions=versions,
        terms=terms,
        now=now,
        codes={code.id: code for code in held},
        limits=in_force,
        active=deposits.active_redemptions(conn, player_ids),
        excluded={player.player_id for player in players.by_ids(conn, player_ids).values() if player.excluded(now)},
        planned=[],
    )


def _reopened(bench: _Bench, known: Recorded, anew: Anew) -> Recorded:
    """The deposit without its refusal; any other verdict stands."""
    if known.result not in ("refused", "no_code"):
        return known
    was = (known.verdict or {}).get("reason")
    data = {"deposit_id": known.deposit_id, "by": anew.by, "reason": anew.reason, "was": was}
    events.append(bench.conn, Event("deposit.reverified", bench.now, data=data))
    return replace(known, verdict=None)


def _judge_one(bench: _Bench, deposit: Deposit, known: Recorded, redeemed: Redemption | None) -> dict[str, Any]:
    before = known.verdict
    if redeemed is not None:
        if deposit.negated and redeemed.rolled_back_at is None and before is not None:
            before = _roll_back(bench, deposit, redeemed, before)
        return _keep(bench, deposit, before or {})
    # A refusal stands, whatever else is told; only its undoing, or an approval after one, is news.
    if (
        before is not None
        and before["result"] == "refused"
        and before["reason"] != "not_approved"
        and not deposit.negated
    ):
        return _keep(bench, deposit, before)
    quoted = bench.quoted(deposit) if deposit.promo_code is not None else None
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
            "excluded": deposit.player_id in bench.excluded,
            **_as_judged(deposit),
        }
        events.append(bench.conn, Event("deposit.refused", bench.now, verdict.campaign, verdict.code_id, data))
    return _keep(
        bench, deposit, verdict.as_json(deposit.deposit_id), looks_for_code=_looks_for_code(bench, deposit, verdict)
    )


def _looks_for_code(bench: _Bench, deposit: Deposit, verdict: Verdict) -> bool:
    """Whether the quoted code may still be recorded, which would change the verdict: also that of an undone deposit."""
    unknown = verdict.code is None and not verdict.trace and deposit.promo_code is not None
    return unknown and deposit.approved and bench.now < deposit.received_at + bench.terms.grace


def _keep(bench: _Bench, deposit: Deposit, verdict: dict[str, Any], *, looks_for_code: bool = False) -> dict[str, Any]:
    deposits.keep_verdict(
        bench.conn,
        deposit.deposit_id,
        verdict,
        bench.now,
        due_at=deposit.received_at + bench.terms.grace if looks_for_code else None,
        waits_for=fold(deposit.promo_code or "") if looks_for_code else None,
    )
    return verdict


def _redeem(bench: _Bench, deposit: Deposit, verdict: Verdict) -> None:
    code = bench.codes[verdict.code_id or 0]
    if not codes.redeem(bench.conn, code.id):
        raise LedgerError(f"Code {code.id} was judged redeemable under lock and is not.")
    if code.player_id is None and codes.bind(bench.conn, code.id, deposit.player_id):
        code = replace(code, player_id=deposit.player_id)
    bench.codes[code.id] = replace(code, redeemed=code.redeemed + 1)
    key = (deposit.player_id, code.campaign_id)
    bench.active[key] = bench.active.get(key, 0) + 1
    currency, reward = deposit.currency or "", verdict.reward
    reward_units = units(Decimal(reward["amount"]), currency) if reward and "amount" in reward else None
    bench.limits.spend(code.campaign_id, currency, reward_units or 0)
    amount = _amount(deposit) or ""
    redemption_id = deposits.add_redemption(
        bench.conn,
        code_id=code.id,
        deposit_id=deposit.deposit_id,
        campaign_id=code.campaign_id,
        player_id=deposit.player_id,
        amount=amount,
        currency=currency,
        reward=reward,
        reward_units=reward_units,
        now=bench.now,
    )
    data = {
        "deposit_id": deposit.deposit_id,
        "player_id": deposit.player_id,
        "amount": amount,
        "currency": currency,
        "reward": reward,
        **_as_judged(deposit),
    }
    event_id = events.append(bench.conn, Event("code.redeemed", bench.now, code.campaign_id, code.id, data))
    campaign = bench.versions.get(bench.conn, code.campaign_id, code.campaign_version).campaign
    cause = Cause("code.redeemed")
    fired = Fired(campaign, code.id, code.recipient, cause, event_id, event_key=str(redemption_id))
    bench.planned += rules.fire(bench.conn, [fired], bench.now)


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
    if deposits.roll_back(bench.conn, redeemed.id, bench.now):
        code = bench.codes[redeemed.code_id]
        codes.give_back(bench.conn, code.id)
        bench.limits.give_back(code.campaign_id, redeemed.currency, redeemed.reward_units or 0)
        bench.codes[code.id] = replace(code, redeemed=code.redeemed - 1)
        key = (deposit.player_id, code.campaign_id)
        bench.active[key] = bench.active.get(key, 1) - 1
        data = {"deposit_id": deposit.deposit_id, "player_id": deposit.player_id}
        events.append(bench.conn, Event("code.rolled_back", bench.now, code.campaign_id, code.id, data))
    void = {"result": "rolled_back", "reason": None, "detail": None, "reward": None, "near_miss": None}
    return {**verdict, **void}
