"""Questions about a past: a list of entries, each a plain dict, oldest first. Each question reads it from its start.

Nothing here is imported from promocast, and nothing is remembered between two questions: what this model says rests on
the contract's words (sections 3 and 4) and on a list, so that it can be wrong only where it is read wrongly.

Entries that are told: `apply`, `accepted` (a request's part), `issued`, `external`, `sent`, `shown`, `revoked`,
`block`, `deposit`, `validate`, `reverify`, `settle`. Entries that follow: `redeemed`, `undone`, `verdict`. A *holding*
is the `issued` or `external` entry itself: one player's hold on one string.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

Entry = dict[str, Any]
Past = list[Entry]

RANK = {"requested": 0, "approved": 1, "rejected": 2, "cancelled": 2, "rolled_back": 2}
GRACE = timedelta(minutes=10)
MAX_GUESSES = 5
HOUR = timedelta(hours=1)
BEFORE, AFTER = timedelta(hours=72), timedelta(minutes=5)


def cut(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def fold(code: str) -> str:
    seen = unicodedata.normalize("NFKC", code).upper()
    return "".join(c for c in seen if not c.isspace() and unicodedata.category(c) != "Pd")


# Deposits


def messages(past: Past, deposit: str) -> list[Entry]:
    """The messages of one deposit that count: an approval that contradicts the first approval does not."""
    counted: list[Entry] = []
    for entry in past:
        if entry["what"] != "deposit" or entry["id"] != deposit:
            continue
        approved = [m for m in counted if m["status"] == "approved"]
        if entry["status"] == "approved" and approved and identity(entry) != identity(approved[0]):
            continue
        counted.append(entry)
    return counted


def conflicts(past: Past) -> int:
    told = [entry for entry in past if entry["what"] == "deposit"]
    return len(told) - sum(len(messages(past, deposit)) for deposit in deposits(past))


def identity(message: Entry) -> tuple[Any, ...]:
    return message["player"], message["amount"], message["currency"]


def deposits(past: Past) -> list[str]:
    """All deposit ids, by their first receipt."""
    return list(dict.fromkeys(entry["id"] for entry in past if entry["what"] == "deposit"))


def status(past: Past, deposit: str) -> str:
    """The highest seen; of the three that undo, any."""
    return str(max((m["status"] for m in messages(past, deposit)), key=lambda told: RANK[told]))


def facts(past: Past, deposit: str) -> Entry:
    """What is claimed: the approval's facts, what it lacks from other messages; the time held near the first receipt."""
    told = messages(past, deposit)
    main = next((m for m in told if m["status"] == "approved"), told[0])
    known = dict(main)
    for field in ("quote", "method", "index"):
        known[field] = next((m[field] for m in [main, *told] if m[field] is not None), None)
    received = cut(told[0]["at"])
    occurred = cut(main["occurred_at"])
    outside = not received - BEFORE <= occurred <= received + AFTER
    return known | {"received": received, "time": received if outside else occurred}


def last_verdict(past: Past, deposit: str) -> Entry | None:
    return next((e for e in reversed(past) if e["what"] == "verdict" and e["deposit"] == deposit), None)


# Codes


def holdings(past: Past) -> list[Entry]:
    """Each hold on a code, oldest first; an external code that is reported again is the same hold."""
    held: list[Entry] = []
    for entry in past:
        known = [fold(h["code"]) for h in held]
        if entry["what"] == "issued" or (entry["what"] == "external" and fold(entry["code"]) not in known):
            held.append(entry)
    return held


def position(past: Past, sought: Entry) -> int:
    return next(n for n, entry in enumerate(past) if entry is sought)


def holder(past: Past, holding: Entry) -> str | None:
    """Who holds it: whom it was issued to; of an external code the first who reported or redeemed it."""
    for entry in past[position(past, holding) :]:
        if entry["what"] in ("issued", "external", "shown") and fold(entry["code"]) == fold(holding["code"]):
            named = entry["player"] if entry["what"] != "issued" or entry is holding else None
        elif entry["what"] == "redeemed" and entry["holding"] is holding:
            named = entry["player"]
        else:
            continue
        if named is not None:
            return str(named)
    return None


def find(past: Past, quote: str, player: str) -> Entry | None:
    """The hold that a player means by a string: the newest of their own, else the newest."""
    same = [h for h in holdings(past) if fold(h["code"]) == fold(quote)]
    own = [h for h in same if holder(past, h) == player]
    return (own or same)[-1] if same else None


def is_strange(past: Past, quote: str, player: str) -> bool:
    """Unknown, or another's (which a code that anybody may redeem is not)."""
    found = find(past, quote, player)
    return found is None or is_anothers(past, found, player)


def is_anothers(past: Past, holding: Entry, player: str) -> bool:
    return issue_terms(past, holding)["holder_only"] and holder(past, holding) not in (None, player)


def versions(past: Past, campaign: str) -> list[Entry]:
    return [entry for entry in past if entry["what"] == "apply" and entry["campaign"] == campaign]


def current_terms(past: Past, campaign: str) -> Entry:
    terms: Entry = versions(past, campaign)[-1]["terms"]
    return terms


def issue_terms(past: Past, holding: Entry) -> Entry:
    """The version of the time when the request's part was accepted (of an external code: when it was recorded)."""
    since = holding
    if holding["what"] == "issued":
        since = next(e for e in past if e["what"] == "accepted" and e["request"] == holding["request"])
    return current_terms(past[: position(past, since)], holding["campaign"])


def expires_at(past: Past, holding: Entry) -> datetime | None:
    terms = issue_terms(past, holding)
    ends = [] if terms["ends_at"] is None else [cut(terms["ends_at"])]
    started = anchor(past, holding, terms["valid_from"])
    if started is not None and terms["valid_for"] is not None:
        ends.append(cut(started) + terms["valid_for"])
    return min(ends, default=None)


def anchor(past: Past, holding: Entry, named: str) -> datetime | None:
    if named == "issued":
        return cut(holding["at"])
    for entry in past[position(past, holding) :]:
        if entry["what"] != named or fold(entry["code"]) != fold(holding["code"]):
            continue
        held_by = holder(past, holding)
        if entry["player"] in (None, held_by):
            return cut(entry["at"])
    return None


def is_revoked(past: Past, holding: Entry) -> bool:
    return any(e["what"] == "revoked" and e["holding"] is holding for e in past)


def active(past: Past) -> list[Entry]:
    """The redemptions that stand."""
    standing: list[Entry] = []
    for entry in past:
        if entry["what"] == "redeemed":
            standing.append(entry)
        if entry["what"] == "undone":
            standing = [r for r in standing if r["deposit"] != entry["deposit"]]
    return standing


def uses(past: Past, holding: Entry, player: str) -> int:
    """How often the code is used: a static one by this player, any other at all."""
    same = [r for r in active(past) if fold(r["holding"]["code"]) == fold(holding["code"])]
    same = [r for r in same if r["holding"]["campaign"] == holding["campaign"]]
    if issue_terms(past, holding)["static"]:
        same = [r for r in same if r["player"] == player]
    return len(same)


def code_status(past: Past, holding: Entry, now: datetime) -> str:
    ends = expires_at(past, holding)
    if is_revoked(past, holding):
        return "revoked"
    if uses(past, holding, holder(past, holding) or "") >= issue_terms(past, holding)["max_redemptions"]:
        return "redeemed"
    return "expired" if ends is not None and cut(now) >= ends else "issued"


def is_blocked(past: Past, player: str, now: datetime) -> bool:
    """A block of either type, as it was told last."""
    last = {e["type"]: e for e in past if e["what"] == "block" and e["player"] == player}
    return any(b["active"] and (b["until"] is None or cut(now) < cut(b["until"])) for b in last.values())


def spent(past: Past, campaign: str) -> tuple[int, dict[str, Decimal]]:
    """Of a campaign's budget: redemptions, and rewards given by currency."""
    ours = [r for r in active(past) if r["holding"]["campaign"] == campaign]
    money: dict[str, Decimal] = {}
    for reward in [r["reward"] for r in ours]:
        if reward is not None and "amount" in reward:
            money[reward["currency"]] = money.get(reward["currency"], Decimal(0)) + reward["amount"]
    return len(ours), money


# Guesses


def is_one_too_many(past: Past, player: str, marker: Any) -> bool:
    """Whether a guess (a deposit id, or the `validate` entry itself) came after too many of one player in an hour."""
    counted: list[datetime] = []
    seen: list[Any] = []
    for n, entry in enumerate(past):
        if entry["what"] not in ("deposit", "validate") or entry["player"] != player or entry["quote"] is None:
            continue
        guess = entry["id"] if entry["what"] == "deposit" else n
        if guess in seen or not is_strange(past[:n], entry["quote"], player):
            continue
        seen.append(guess)
        at = cut(entry["at"])
        refused = sum(at < when + HOUR for when in counted) >= MAX_GUESSES
        if guess == marker or entry is marker:
            return refused
        if not refused:
            counted.append(at)
    return False
