"""Questions about a past: a list of entries, each a plain dict, oldest first. Each question reads it from its start.

Nothing here is imported from promocast, and nothing is remembered between two questions: what this model says rests on
the contract's words (sections 3 and 4) and on a list, so that it can be wrong only where it is read wrongly.

Entries that are told: `apply`, `accepted` (a request's part), `issued`, `external`, `sent`, `shown`, `revoked`,
`early` (shown, of a code that is not recorded), `blocks`, `deposit`, `validate`, `reverify`, `settle`. Entries that
follow: `ended` (the wait of an early one), `guess`, `redeemed`, `undone`, `verdict`, `validated`. A *holding* is the
`issued` or `external` entry itself: a code, with who holds it. Moments that rules compare are cut to whole seconds;
those of commands and of waiting are taken as they are.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

Entry = dict[str, Any]
Past = list[Entry]

RANK = {"requested": 0, "approved": 1, "rejected": 2, "cancelled": 2, "rolled_back": 2}
# Whose word is worth most: the approval's, then that of whoever came before it in a deposit's life, then after.
WORTH = ("approved", "requested", "rejected", "cancelled", "rolled_back")
FACTS = ("amount", "currency", "method", "index", "quote", "occurred_at")
GRACE = timedelta(minutes=10)
MAX_GUESSES = 5
HOUR = timedelta(hours=1)
BEFORE, AFTER = timedelta(hours=72), timedelta(minutes=5)


def cut(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


@cache
def fold(code: str) -> str:
    seen = unicodedata.normalize("NFKC", code).upper()
    return "".join(c for c in seen if not c.isspace() and unicodedata.category(c) != "Pd")


# Deposits


def messages(past: Past, deposit: str) -> list[Entry]:
    """The messages of one deposit that count: neither another player's, nor an approval that contradicts the first."""
    counted: list[Entry] = []
    for entry in past:
        if entry["what"] != "deposit" or entry["id"] != deposit:
            continue
        same_player = not counted or entry["player"] == counted[0]["player"]
        approved = [m for m in counted if m["status"] == "approved"]
        agrees = entry["status"] != "approved" or not approved or paid(entry) == paid(approved[0])
        if same_player and agrees:
            counted.append(entry)
    return counted


def conflicts(past: Past) -> int:
    told = [entry for entry in past if entry["what"] == "deposit"]
    return len(told) - sum(len(messages(past, deposit)) for deposit in deposits(past))


def paid(message: Entry) -> tuple[Any, ...]:
    return message["amount"], message["currency"]


def deposits(past: Past) -> list[str]:
    """All deposit ids, by their first receipt; of the same moment, by the id."""
    received = [(entry["at"], entry["id"]) for entry in past if entry["what"] == "deposit"]
    return list(dict.fromkeys(deposit for _, deposit in sorted(received)))


def status(past: Past, deposit: str) -> str:
    """The highest seen; of the three that undo, any."""
    return str(max((m["status"] for m in messages(past, deposit)), key=lambda told: RANK[told]))


def facts(past: Past, deposit: str) -> Entry:
    """What is claimed: the approval's facts, what it lacks from the others; the time held near the first receipt."""
    told = messages(past, deposit)
    known = {"id": deposit, "what": "deposit", "player": told[0]["player"], "received": told[0]["at"]}
    for field in FACTS:
        known[field] = fact(told, field)
    received = cut(told[0]["at"])
    occurred = received if known["occurred_at"] is None else cut(known["occurred_at"])
    outside = not received - BEFORE <= occurred <= received + AFTER
    return known | {"outside": outside, "time": received if outside else occurred}


def fact(told: list[Entry], field: str) -> Any:
    """One fact: whose word is worth most is asked first. A message that repeats a status adds what nobody has said."""
    said: list[Entry] = []
    for n, message in enumerate(told):
        is_first = message["status"] not in [earlier["status"] for earlier in told[:n]]
        if message[field] is not None and (is_first or not said):
            said.append(message)
    said.sort(key=lambda message: WORTH.index(message["status"]))
    return said[0][field] if said else None


def last_verdict(past: Past, deposit: str) -> Entry | None:
    return next((e for e in reversed(past) if e["what"] == "verdict" and e["deposit"] == deposit), None)


# Codes


def holdings(past: Past) -> list[Entry]:
    """Each hold on a code, oldest first; an external code that is reported again is the same hold."""
    held: list[Entry] = []
    for entry in past:
        if entry["what"] == "external" and fold(entry["code"]) in [fold(h["code"]) for h in held]:
            continue
        if entry["what"] in ("issued", "external"):
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


def find(past: Past, quote: str) -> Entry | None:
    return next((h for h in holdings(past) if fold(h["code"]) == fold(quote)), None)


def is_strange(past: Past, quote: str, player: str) -> bool:
    """Unknown, or another's (which a code that anybody may redeem is not)."""
    found = find(past, quote)
    return found is None or is_anothers(past, found, player)


def is_anothers(past: Past, holding: Entry, player: str) -> bool:
    return bool(issue_terms(past, holding)["holder_only"]) and holder(past, holding) not in (None, player)


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
    ends = [] if terms["ends_at"] is None else [terms["ends_at"]]
    started = anchor(past, holding, terms["valid_from"])
    if started is not None and terms["valid_for"] is not None:
        ends.append(started + terms["valid_for"])
    return min(ends, default=None)


def anchor(past: Past, holding: Entry, named: str) -> datetime | None:
    if named == "issued":
        return moment(holding)
    for n, entry in enumerate(past):
        if n < position(past, holding) or entry["what"] != named or fold(entry["code"]) != fold(holding["code"]):
            continue
        if entry["player"] in (None, holder(past[: n + 1], holding)):
            return moment(entry)
    return None


def moment(entry: Entry) -> datetime:
    at: datetime = entry["at"]
    return at


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


def uses(past: Past, holding: Entry) -> int:
    return sum(r["holding"] is holding for r in active(past))


def code_status(past: Past, holding: Entry, now: datetime) -> str:
    ends = expires_at(past, holding)
    if is_revoked(past, holding):
        return "revoked"
    if uses(past, holding) >= issue_terms(past, holding)["max_redemptions"]:
        return "redeemed"
    return "expired" if ends is not None and now >= ends else "issued"


def is_blocked(past: Past, player: str, now: datetime) -> bool:
    """Whether a block of either type is active, of those that were told last."""
    told = [e["blocks"] for e in past if e["what"] == "blocks" and e["player"] == player]
    return any(b["active"] and (b["until"] is None or now < b["until"]) for b in (told[-1] if told else []))


def spent(past: Past, campaign: str) -> tuple[int, dict[str, Decimal]]:
    """Of a campaign's budget: redemptions, and rewards given by currency."""
    ours = [r for r in active(past) if r["holding"]["campaign"] == campaign]
    money: dict[str, Decimal] = {}
    for reward in [r["reward"] for r in ours]:
        if reward is not None and "amount" in reward:
            money[reward["currency"]] = money.get(reward["currency"], Decimal(0)) + reward["amount"]
    return len(ours), money


def is_one_too_many(past: Past, player: str, at: datetime, deposit: str | None) -> bool:
    """Whether a guess at `at` comes after too many of the player in the hour before; one deposit guesses once."""
    counted = [e for e in past if e["what"] == "guess" and e["player"] == player]
    if deposit is not None and deposit in [e["deposit"] for e in counted]:
        return False
    return len([e for e in counted if e["at"] <= at < e["at"] + HOUR]) >= MAX_GUESSES


# Issuing


def may_be_accepted(past: Past, campaign: str, now: datetime) -> bool:
    return has_not_ended(current_terms(past, campaign), now)


def may_be_issued(past: Past, request: str, player: str, now: datetime) -> bool:
    accepted = next(e for e in past if e["what"] == "accepted" and e["request"] == request)
    terms = current_terms(past[: position(past, accepted)], accepted["campaign"])
    return not is_blocked(past, player, now) and has_not_ended(terms, now)


def has_not_ended(terms: Entry, now: datetime) -> bool:
    ends: datetime | None = terms["ends_at"]
    return ends is None or now < ends
