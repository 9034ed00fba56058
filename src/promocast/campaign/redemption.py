"""Which deposit redeems which code: the rules of contract section 4, as a pure function of facts.

Every rule is asked, in the order in which the contract ranks the reasons: the first that fails is the reason, the
trace holds all of them, and the near miss is computed from those that a different deposit would have passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from promocast.campaign.deposit import Deposit, whole_seconds
from promocast.campaign.near_miss import BUDGET, near_miss
from promocast.campaign.reward import Promise, promised
from promocast.campaign.verdict import Candidate, Check, Verdict, allowed_currencies, listed
from promocast.model import Instant, rfc3339


def judge(
    deposit: Deposit,
    quoted: Candidate | None,
    held: Sequence[Candidate],
    *,
    excluded: bool,
    grace_until: Instant,
    now: Instant,
    guessed_enough: bool = False,
) -> Verdict:
    """The verdict on a deposit that redeemed nothing so far.

    Args:
        quoted: the code that the deposit quotes, if the ledger knows it.
        held: the depositing player's codes, newest first; asked only where nothing is quoted.
        excluded: whether a block of either type is active for the player.
        grace_until: until when an unknown quoted code may still turn up.
        guessed_enough: the quoted code is a guess (`is_guess`), and the player has had all that are allowed.
    """
    if not deposit.approved:
        if deposit.negated:
            return Verdict("refused", reason="not_approved", detail="undone before it was approved")
        return Verdict("pending")
    if guessed_enough:
        verdict = Verdict("refused", reason="too_many_attempts", detail="too many codes that are not the player's")
    else:
        verdict = _judge_approved(deposit, quoted, held, excluded=excluded, grace_until=grace_until, now=now)
    return rolled_back(verdict) if deposit.negated else verdict


def is_guess(deposit: Deposit, quoted: Candidate | None) -> bool:
    """Whether the deposit quotes a code that is unknown, or another's who alone may use it."""
    return deposit.promo_code is not None and (quoted is None or _is_anothers(quoted, deposit))


def rolled_back(verdict: Verdict) -> Verdict:
    """What becomes of a verdict when its deposit is undone: the code and the campaign stay known, the rest is void.

    It is the same whether the approval or its undoing came first.
    """
    return replace(verdict, result="rolled_back", reason=None, detail=None, reward=None, near_miss=None)


def _judge_approved(
    deposit: Deposit,
    quoted: Candidate | None,
    held: Sequence[Candidate],
    *,
    excluded: bool,
    grace_until: Instant,
    now: Instant,
) -> Verdict:
    if deposit.promo_code is not None:
        if quoted is not None:
            return _judge_code(deposit, quoted, excluded=excluded)
        if now < grace_until:
            return Verdict("waiting", reason="unknown_code", detail=f"looked for until {rfc3339(grace_until)}")
        return Verdict("refused", reason="unknown_code", detail="no such code was recorded")
    candidates = [code for code in held if _matches_by_player(code, deposit)]
    if not candidates:
        # No rule was asked; that the player was excluded all the same is known later from here alone.
        return Verdict("no_code", trace=(_not_excluded(excluded),) if excluded else ())
    verdicts = [_judge_code(deposit, code, excluded=excluded) for code in candidates]
    return next((verdict for verdict in verdicts if verdict.result == "accepted"), verdicts[0])


def _matches_by_player(code: Candidate, deposit: Deposit) -> bool:
    return (
        "player" in code.campaign.redemption.match
        and code.revoked_at is None
        and not code.used_up
        and whole_seconds(code.issued_at) <= deposit.occurred_at
        and not _expired(code, deposit)
    )


def _judge_code(deposit: Deposit, code: Candidate, *, excluded: bool) -> Verdict:
    reward = _reward(deposit, code)
    trace = tuple(_checks(deposit, code, reward, excluded=excluded))
    failed = [check for check in trace if not check.passed]
    anothers = any(check.rule == "other_player" for check in failed)
    known = {} if anothers else {"code_id": code.code_id, "code": code.code, "campaign": code.campaign.id}
    if not failed:
        return Verdict("accepted", **known, reward=reward.as_json() if reward else None, trace=trace)  # type: ignore[arg-type]
    reason = failed[0]
    if anothers:
        # Whoever quotes another player's code learns that, and nothing else about it.
        return Verdict("refused", reason="other_player", detail=reason.detail, trace=(reason,))
    return Verdict(
        "refused",
        **known,  # type: ignore[arg-type]
        reason=reason.rule,
        detail=reason.detail,
        near_miss=near_miss(deposit, code, failed),
        trace=trace,
    )


def _checks(deposit: Deposit, code: Candidate, reward: Promise | None, *, excluded: bool) -> Iterator[Check]:
    campaign = code.campaign
    starts = campaign.starts_at
    if deposit.occurred_at_doubted:
        yield Check("occurred_at", passed=True, detail="outside the window around the receipt; judged by the receipt")
    others = _is_anothers(code, deposit)
    yield Check("other_player", not others, "the code is another player's" if others else "")
    yield _not_excluded(excluded)
    yield Check(
        "revoked", code.revoked_at is None, "" if code.revoked_at is None else f"since {rfc3339(code.revoked_at)}"
    )
    yield Check(
        "not_started",
        starts is None or whole_seconds(starts) <= deposit.occurred_at,
        "" if starts is None else f"the campaign starts {rfc3339(starts)}",
    )
    yield Check(
        "expired",
        not _expired(code, deposit),
        "" if code.expires_at is None else f"the code ends {rfc3339(code.expires_at)}",
    )
    limit = "already_redeemed" if code.max_redemptions == 1 else "limit_reached"
    yield Check(limit, not code.used_up, f"{code.redeemed} of {code.max_redemptions or 'any number'} redemptions")
    if code.per_player is not None:
        used = code.player_redemptions
        yield Check("limit_reached", used < code.per_player, f"{used} of {code.per_player} by this player")
    yield from _deposit_checks(deposit, code)
    yield from _budget_checks(deposit, code, reward)


def _not_excluded(excluded: bool) -> Check:
    return Check("player_excluded", not excluded, "a block is active for the player" if excluded else "")


def _deposit_checks(deposit: Deposit, code: Candidate) -> Iterator[Check]:
    terms, amount, currency = code.campaign.redemption, deposit.amount, deposit.currency or ""
    allowed = allowed_currencies(code)
    reward = code.campaign.reward
    told = bool(currency) or reward is None or not reward.in_money
    fits = told and (allowed is None or currency in allowed)
    yield Check("wrong_currency", fits, f"{currency or 'none'}, of {listed(allowed)}")
    least, most = terms.min_deposit.get(currency), terms.max_deposit.get(currency)
    if least is not None:
        yield Check(
            "below_minimum", amount is not None and amount >= Decimal(least), f"{amount}, at least {least} {currency}"
        )
    if reward is not None and reward.percent is not None and amount is None:
        yield Check("below_minimum", passed=False, detail="no amount was told, of which to give a part")
    if terms.max_deposit and not currency:
        yield Check("above_maximum", passed=False, detail="no currency was told")
    if most is not None:
        yield Check(
            "above_maximum", amount is not None and amount <= Decimal(most), f"{amount}, at most {most} {currency}"
        )
    if terms.payment_methods:
        method = (deposit.payment_method or "").casefold()
        fits = method in {allowed_method.casefold() for allowed_method in terms.payment_methods}
        yield Check(
            "wrong_payment_method", fits, f"{deposit.payment_method or 'none'}, of {listed(terms.payment_methods)}"
        )
    if terms.deposit_index:
        fits = deposit.deposit_index in terms.deposit_index
        yield Check("wrong_deposit_index", fits, f"{deposit.deposit_index}, of {listed(terms.deposit_index)}")


def _is_anothers(code: Candidate, deposit: Deposit) -> bool:
    return code.player_id is not None and code.player_id != deposit.player_id and code.campaign.code.holder_only


def _budget_checks(deposit: Deposit, code: Candidate, reward: Promise | None) -> Iterator[Check]:
    left = code.left
    if left is None:
        return
    if left.redemptions is not None:
        yield Check(BUDGET, left.redemptions > 0, f"{left.redemptions} redemptions left")
    units = (left.units or {}).get(deposit.currency or "")
    if reward is not None and units is not None:
        given = reward.as_json()
        yield Check(BUDGET, reward.units <= units, f"{given.get('amount')} {deposit.currency}, of what is left")


def _reward(deposit: Deposit, code: Candidate) -> Promise | None:
    reward = code.campaign.reward
    return None if reward is None else promised(reward, deposit.amount, deposit.currency or "")


def _expired(code: Candidate, deposit: Deposit) -> bool:
    return code.expires_at is not None and deposit.occurred_at >= whole_seconds(code.expires_at)
