"""Which deposit redeems which code: the rules of contract section 4, as a pure function of facts.

Every rule is asked, in the order in which the contract ranks the reasons: the first that fails is the reason, the
trace holds all of them, and the near miss is computed from those that a different deposit would have passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import Any, Final, Literal

from promocast.campaign.deposit import Deposit, whole_seconds
from promocast.campaign.document import Campaign
from promocast.model import Instant, rfc3339
from promocast.money import digits, written

Result = Literal["accepted", "refused", "no_code", "pending", "waiting", "rolled_back"]

# What a depositor could have done otherwise; everything else is not theirs to change.
CHANGEABLE: Final = frozenset(
    {"wrong_currency", "below_minimum", "above_maximum", "wrong_payment_method", "wrong_deposit_index"}
)

MONEY: Final = frozenset({"wrong_currency", "below_minimum", "above_maximum"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A code as committed now, and what else judging it needs.

    `player_redemptions` counts the depositing player's active redemptions of the campaign.
    """

    code_id: int
    code: str
    campaign: Campaign
    player_id: str | None
    issued_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    redeemed: int
    max_redemptions: int | None
    player_redemptions: int

    @property
    def used_up(self) -> bool:
        return self.max_redemptions is not None and self.redeemed >= self.max_redemptions


@dataclass(frozen=True, slots=True)
class Check:
    """One line of a trace: the rule, named by the reason it gives, whether it held, and the facts it compared."""

    rule: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a deposit. `code_id` is null where the code is unknown or another player's."""

    result: Result
    code_id: int | None = None
    code: str | None = None
    campaign: str | None = None
    reason: str | None = None
    detail: str | None = None
    near_miss: dict[str, Any] | None = None
    trace: tuple[Check, ...] = ()

    def as_json(self, deposit_id: str) -> dict[str, Any]:
        """The verdict object of contract section 4."""
        shown = asdict(self)
        del shown["code_id"]
        return {"deposit_id": deposit_id, "reward": None, **shown, "trace": [asdict(check) for check in self.trace]}


def judge(
    deposit: Deposit,
    quoted: Candidate | None,
    held: Sequence[Candidate],
    *,
    excluded: bool,
    grace_until: Instant,
    now: Instant,
) -> Verdict:
    """The verdict on a deposit that redeemed nothing so far.

    Args:
        quoted: the code that the deposit quotes, if the ledger knows it.
        held: the depositing player's codes, newest first; asked only where nothing is quoted.
        excluded: whether a block of either type is active for the player.
        grace_until: until when an unknown quoted code may still turn up.
    """
    if not deposit.approved:
        if deposit.negated:
            return Verdict("refused", reason="not_approved", detail="undone before it was approved")
        return Verdict("pending")
    verdict = _judge_approved(deposit, quoted, held, excluded=excluded, grace_until=grace_until, now=now)
    return rolled_back(verdict) if deposit.negated else verdict


def rolled_back(verdict: Verdict) -> Verdict:
    """What becomes of a verdict when its deposit is undone: the code and the campaign stay known, the rest is void.

    It is the same whether the approval or its undoing came first.
    """
    return replace(verdict, result="rolled_back", reason=None, detail=None, near_miss=None)


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
        return Verdict("no_code")
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
    trace = tuple(_checks(deposit, code, excluded=excluded))
    failed = [check for check in trace if not check.passed]
    anothers = any(check.rule == "other_player" for check in failed)
    known = {} if anothers else {"code_id": code.code_id, "code": code.code, "campaign": code.campaign.id}
    if not failed:
        return Verdict("accepted", **known, trace=trace)  # type: ignore[arg-type]
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


def _checks(deposit: Deposit, code: Candidate, *, excluded: bool) -> Iterator[Check]:
    terms, campaign = code.campaign.redemption, code.campaign
    starts = campaign.starts_at
    if deposit.occurred_at_doubted:
        yield Check("occurred_at", passed=True, detail="outside the window around the receipt; judged by the receipt")
    others = code.player_id is not None and code.player_id != deposit.player_id and code.campaign.code.holder_only
    yield Check("other_player", not others, "the code is another player's" if others else "")
    yield Check("player_excluded", not excluded, "a block is active for the player" if excluded else "")
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
    if terms.per_player is not None:
        used = code.player_redemptions
        yield Check("limit_reached", used < terms.per_player, f"{used} of {terms.per_player} by this player")
    yield from _deposit_checks(deposit, code)


def _deposit_checks(deposit: Deposit, code: Candidate) -> Iterator[Check]:
    terms, amount, currency = code.campaign.redemption, deposit.amount, deposit.currency or ""
    allowed = allowed_currencies(code.campaign)
    yield Check("wrong_currency", allowed is None or currency in allowed, f"{currency or 'none'}, of {_list(allowed)}")
    least, most = terms.min_deposit.get(currency), terms.max_deposit.get(currency)
    if least is not None:
        yield Check(
            "below_minimum", amount is not None and amount >= Decimal(least), f"{amount}, at least {least} {currency}"
        )
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
            "wrong_payment_method", fits, f"{deposit.payment_method or 'none'}, of {_list(terms.payment_methods)}"
        )
    if terms.deposit_index:
        fits = deposit.deposit_index in terms.deposit_index
        yield Check("wrong_deposit_index", fits, f"{deposit.deposit_index}, of {_list(terms.deposit_index)}")


def allowed_currencies(campaign: Campaign) -> frozenset[str] | None:
    """The currencies that the terms allow; None where they name none."""
    return frozenset(campaign.redemption.min_deposit) or None


def _expired(code: Candidate, deposit: Deposit) -> bool:
    return code.expires_at is not None and deposit.occurred_at >= whole_seconds(code.expires_at)


def near_miss(deposit: Deposit, code: Candidate, failed: Sequence[Check]) -> dict[str, Any] | None:
    """The least change to the deposit with which it would pass: fewest fields, then the smallest change of amount.

    `{changes: {field: value}, text}`; null where no change of amount, currency, payment method or index would do.
    """
    if any(check.rule not in CHANGEABLE for check in failed):
        return None
    rules = {check.rule for check in failed}
    changes: dict[str, Any] = {}
    texts: list[str] = []
    if rules & MONEY:
        money = _money_change(deposit, code)
        if money is None:
            return None
        changes |= money[0]
        texts.append(money[1])
    terms = code.campaign.redemption
    if "wrong_payment_method" in rules:
        changes["payment_method"] = terms.payment_methods[0]
        texts.append(f"pay by {_list(terms.payment_methods)}")
    if "wrong_deposit_index" in rules:
        changes["deposit_index"] = min(terms.deposit_index, key=lambda i: abs(i - (deposit.deposit_index or 0)))
        texts.append(f"deposit number {_list(terms.deposit_index)}")
    return {"changes": changes, "text": ", ".join(texts)}


def _money_change(deposit: Deposit, code: Candidate) -> tuple[dict[str, str], str] | None:
    """The least change of currency and amount that satisfies the bounds, over the currencies that the terms name and
    allow; None where none does."""
    terms, now = code.campaign.redemption, deposit.currency or ""
    told = deposit.amount
    options = allowed_currencies(code.campaign) or {now, *terms.max_deposit} - {""}
    best: tuple[int, Decimal, bool, str, Decimal] | None = None
    for currency in options:
        amount = _clamped(told or Decimal(0), currency, code)
        if amount is not None:
            fields = (currency != now) + (amount != told)
            option = (fields, abs(amount - (told or 0)), currency != now, currency, amount)
            best = option if best is None else min(best, option)
    if best is None:
        return None
    _, by, _, currency, amount = best
    changes = {"currency": currency} if currency != now else {}
    texts = [f"in {currency}"] if currency != now else []
    if amount != told:
        changes["amount"] = written(amount, currency)
        texts.append(_by(told, amount, by, currency))
    return changes, ", ".join(texts)


def _by(told: Decimal | None, amount: Decimal, by: Decimal, currency: str) -> str:
    if told is None or by < Decimal(1).scaleb(-digits(currency)):
        return f"an amount of {written(amount, currency)} {currency}"
    return f"{written(by, currency)} {currency} {'short' if amount > told else 'too much'}"


def _clamped(amount: Decimal, currency: str, code: Candidate) -> Decimal | None:
    """The amount nearest to `amount` that lies within the bounds of `currency` and has no more digits than it."""
    terms = code.campaign.redemption
    unit = Decimal(1).scaleb(-digits(currency))
    least = Decimal(terms.min_deposit.get(currency, unit))
    most = Decimal(terms.max_deposit[currency]) if currency in terms.max_deposit else None
    if most is not None and most < least:
        return None
    clamped = max(amount, least)
    clamped = clamped if most is None else min(clamped, most)
    rounded = clamped.quantize(unit, ROUND_HALF_UP)
    if rounded < least:
        return clamped.quantize(unit, ROUND_UP)
    return clamped.quantize(unit, ROUND_DOWN) if most is not None and rounded > most else rounded


def _list(values: Any) -> str:
    return ", ".join(str(value) for value in (sorted(values) if values is not None else ())) or "any"
