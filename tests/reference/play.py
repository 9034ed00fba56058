"""Play a story at a table, and compare what the product and the reference make of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from promocast.ledger import audit, budgets, codes, inbox, story
from promocast.model import rfc3339
from promocast.money import units
from tests.reference import history, rules
from tests.reference.history import Entry, Past
from tests.reference.model import replay
from tests.reference.table import Table, instant_of, moment_of, nth_code

_SECOND = timedelta(seconds=1)
_NEAR_MISS_FIELDS = {"amount": "amount", "currency": "currency", "payment_method": "method", "deposit_index": "index"}


class Play:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.told: dict[str, Entry] = {}

    def run(self, bases: dict[str, Entry], steps: list[tuple[Any, ...]]) -> Past:
        """All steps, each after its wait; the past that the reference makes of them, compared."""
        for campaign, terms in bases.items():
            self.table.apply(campaign, terms)
        for wait, (name, *needs) in steps:
            self._wait(wait)
            self.table.settle()
            getattr(self, f"_{name}")(*needs)
            self.table.settle()
        past = replay(self.table.log)
        compare(self.table, past)
        return past

    def _wait(self, wait: Any) -> None:
        """So many milliseconds; or until just before, at or after a moment at which something turns."""
        clock = self.table.clock
        clock.advance(1)  # no two steps are at one moment
        if isinstance(wait, int):
            clock.advance(wait)
            return
        _, which, offset = wait
        now = clock()
        coming = sorted({at + offset for at in map(instant_of, turns(self.table.log)) if at + offset > now})
        if coming:
            clock.now = coming[which % len(coming)]

    def _text(self, quote: tuple[str, int] | None, player: str | None = None) -> str | None:
        """The code that a quote means, in one spelling or another."""
        if quote is None:
            return None
        kind, number = quote
        own = [e["code"] for e in self.table.log if e["what"] in ("issued", "external") and e["player"] == player]
        if kind == "own" and own:
            text = own[::-1][number % len(own)]
        else:
            text = {"external": f"crm {number}", "unknown": f"NOPE-{number}"}.get(kind, nth_code(number))
        return f" {text[:3].lower()}-{text[3:]}" if len(self.table.log) % 3 == 0 else text

    def _when(self, moment: tuple[str, int], number: str) -> datetime:
        kind, offset = moment
        log, now = self.table.log, moment_of(self.table.clock())
        receipt = next((e["at"] for e in log if e["what"] == "deposit" and e["id"] == number), now)
        found: dict[str, list[datetime | None]] = {
            "now": [now],
            "receipt": [receipt],
            "earliest": [receipt - history.BEFORE],
            "latest": [receipt + history.AFTER],
            "issued": [h["at"] for h in history.holdings(log)],
            "expires": [history.expires_at(log, h) for h in history.holdings(log)],
            "starts": [e["terms"]["starts_at"] for e in log if e["what"] == "apply"],
            "ends": [e["terms"]["ends_at"] for e in log if e["what"] == "apply"],
        }
        known = [at for at in found[kind] if at is not None] or [now]
        return known[-1] + timedelta(milliseconds=offset)

    def _tell(self, drawn: list[Entry]) -> None:
        messages = []
        for one in drawn:
            deposit = f"tx-{one['number']}"
            player = f"p{one['number'] % 3 + 1}"
            facts = {name: one[name] for name in ("amount", "currency", "method", "index")}
            facts["quote"] = self._text(one["quote"], player)
            facts["occurred_at"] = one["occurred_at"] and self._when(one["occurred_at"], deposit)
            before = self.told.setdefault(deposit, facts)
            if one["anew"] != "all":
                facts = before | {name: facts[name] for name in one["anew"]}
            # An approval always says what was paid (contract section 4).
            left_out = [*one["left_out"], *(["amount", "currency"] if one["status"] != "approved" else [])]
            facts = facts | dict.fromkeys(left_out if one["left_out"] else [])
            player = "p9" if one["stranger"] else player
            messages.append({"id": deposit, "player": player, "status": one["status"], **facts})
        self.table.tell([m if fits(m) else m | {"amount": Decimal(10)} for m in messages])

    def _issue(self, player: str, campaign: str) -> None:
        self.table.accept(player, campaign)
        self.table.issue()

    def _accept(self, player: str, campaign: str) -> None:
        self.table.accept(player, campaign)

    def _sent(self, quote: tuple[str, int]) -> None:
        self.table.sent(self._text(quote) or "")

    def _report(self, quote: tuple[str, int], player: str | None, campaign: str) -> None:
        self.table.report((self._text(quote, player) or "").strip(), player, campaign)

    def _action(self, quote: tuple[str, int], player: str | None) -> None:
        self.table.action(self._text(quote, player) or "", player)

    def _revoke(self, quote: tuple[str, int]) -> None:
        self.table.revoke(self._text(quote) or "")

    def _blocks(self, player: str, blocks: list[Entry]) -> None:
        now = moment_of(self.table.clock())
        self.table.blocks(player, [b | {"until": None if b["until"] is None else now + b["until"]} for b in blocks])

    def _validate(self, player: str, quote: tuple[str, int], payment: Entry) -> None:
        self.table.validate({"player": player, "quote": self._text(quote, player), **payment})

    def _reverify(self, number: int) -> None:
        if self.told:
            self.table.reverify(list(self.told)[number % len(self.told)])

    def _apply(self, version: tuple[str, Entry]) -> None:
        self.table.apply(*version)


def fits(message: Entry) -> bool:
    """Whether an amount that was kept is written in the digits of a currency that was not."""
    return message["amount"] is None or message["currency"] is None or rules.fits(message)


def turns(log: list[Entry]) -> list[datetime]:
    """Moments at which something ends or begins."""
    found: list[datetime | None] = []
    for entry in log:
        if entry["what"] in ("deposit", "validate"):
            found += [entry["at"] + history.GRACE, entry["at"] + history.HOUR]
        if entry["what"] == "blocks":
            found += [block["until"] for block in entry["blocks"]]
        if entry["what"] == "apply":
            found += [entry["terms"]["starts_at"], entry["terms"]["ends_at"]]
    found += [history.expires_at(log, holding) for holding in history.holdings(log)]
    return [at for at in found if at is not None]


# Comparison


def compare(table: Table, past: Past) -> None:
    seen: dict[str, Entry] = {}
    looks, validated = iter(table.seen), iter(table.validated)
    for entry in past:
        if entry["what"] == "verdict":
            seen[entry["deposit"]] = entry
        if entry["what"] == "validated":
            agree("validate", as_compared(next(validated), entry), as_said(entry))
        if entry["what"] == "looked":
            verdicts = next(looks)
            agree("judged", verdicts.keys(), seen.keys())
            for deposit, verdict in verdicts.items():
                agree(f"{deposit} at {entry['at']}", as_compared(verdict, seen[deposit]), as_said(seen[deposit]))
    for deposit, verdict in table.verdicts(list(seen)).items():
        agree(f"{deposit} at last", as_compared(verdict, seen[deposit]), as_said(seen[deposit]))
    with table.ledger.read() as conn:
        agree("audit", audit.violations(conn), [])
        for code in story.summaries(conn, codes.page(conn, limit=1_000), table.clock()):
            holding = history.find(past, code["code"])
            assert holding is not None, code
            agree(code["code"], as_code(code), of_holding(past, holding, moment_of(table.clock())))
        for campaign in {entry["campaign"] for entry in past if entry["what"] == "apply"}:
            agree(f"budget of {campaign}", budgets.of_campaign(conn, campaign), of_budget(past, campaign))
        conflicts = [entry for entry in inbox.waiting(conn, limit=1_000) if entry.reason == "conflict"]
        agree("conflicts", len(conflicts), history.conflicts(past))


def agree(about: str, product: Any, reference: Any) -> None:
    assert product == reference, f"{about}: the product has {product}, the reference {reference}"


def as_compared(verdict: Entry, expected: Entry) -> Entry:
    """A verdict of the product in the reference's words; of least changes that tie it may name any."""
    failed = dict.fromkeys(check["rule"] for check in verdict["trace"] if not check["passed"])
    judged = verdict["result"] in ("accepted", "refused") and verdict["code"] is not None
    reward = verdict["reward"] and {name: value for name, value in verdict["reward"].items() if name != "type"}
    if reward and "amount" in reward:
        reward["amount"] = Decimal(reward["amount"])
    near_miss = verdict["near_miss"] and change_in_our_words(verdict["near_miss"]["changes"])
    return {
        "result": verdict["result"],
        "code": verdict["code"],
        "campaign": verdict["campaign"],
        "reason": verdict["reason"] if verdict["result"] == "refused" else None,
        "reward": reward,
        "doubted": judged and any(check["rule"] == "occurred_at" for check in verdict["trace"]),
        "trace": list(failed) if verdict["result"] == "refused" else [],
        "near_miss": "one of the least" if near_miss in expected["near_misses"] else near_miss,
    }


def change_in_our_words(change: dict[str, Any]) -> dict[str, Any]:
    made = {_NEAR_MISS_FIELDS[name]: value for name, value in change.items()}
    return made | ({"amount": Decimal(made["amount"])} if "amount" in made else {})


def as_said(expected: Entry) -> Entry:
    kept = {name: expected[name] for name in ("result", "code", "campaign", "reason", "reward", "trace", "doubted")}
    return kept | {"near_miss": "one of the least" if expected["near_misses"] else None}


def as_code(code: Entry) -> Entry:
    names = ("campaign", "player_id", "status", "expires_at")
    redeemed = [(r["deposit_id"], r["rolled_back_at"] is None) for r in code["redemptions"]]
    return {name: code[name] for name in names} | {"redeemed": sorted(redeemed)}


def of_holding(past: Past, holding: Entry, now: datetime) -> Entry:
    ends = history.expires_at(past, holding)
    standing = [r["deposit"] for r in history.active(past) if r["holding"] is holding]
    redeemed = [e["deposit"] for e in past if e["what"] == "redeemed" and e["holding"] is holding]
    return {
        "campaign": holding["campaign"],
        "player_id": history.holder(past, holding),
        "status": history.code_status(past, holding, now),
        "expires_at": None if ends is None else rfc3339(instant_of(ends)),
        "redeemed": sorted((deposit, deposit in standing) for deposit in redeemed),
    }


def of_budget(past: Past, campaign: str) -> dict[str, int]:
    """What is spent of a budget that the version in force has."""
    limits = history.current_terms(past, campaign)
    count, money = history.spent(past, campaign)
    found = {c: units(money.get(c, Decimal(0)), c) for c in limits["budget_amount"]}
    return found | ({"": count} if limits["budget_redemptions"] is not None else {})
