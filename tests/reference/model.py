"""The slow reference of how a deposit is judged: contract.md sections 3 and 4, word by word.

`replay` reads a log of told entries (see history.py) from its start and gives the past with what follows from it:
redemptions, their undoing, verdicts. Nothing is indexed, nothing kept.
"""

from __future__ import annotations

from datetime import datetime

from tests.reference import history
from tests.reference.history import Entry, Past, cut, fold
from tests.reference.rules import near_misses, reasons, reward_of


def replay(log: list[Entry]) -> Past:
    past: Past = []
    for entry in log:
        past.append(entry)
        if entry["what"] == "settle":
            settle_early(past, entry["at"])
            for deposit in history.deposits(past):
                if is_open(past, deposit):
                    settle(past, deposit, entry["at"])
        elif entry["what"] == "reverify":
            settle(past, entry["deposit"], entry["at"])
        elif entry["what"] == "validate":
            claim = entry | {"id": None, "time": cut(entry["at"]), "received": entry["at"], "outside": False}
            past.append({"what": "validated", **judge(past, claim, entry["at"])[0]})
    return past


def settle_early(past: Past, now: datetime) -> None:
    """Client actions that came before their code, once it is recorded; for no longer than the grace time."""
    for early in [
        e for e in past if e["what"] == "early" and not any(t["what"] == "ended" and t["of"] is e for t in past)
    ]:
        holding = history.find(past, early["code"])
        if holding is None and now < early["at"] + history.GRACE:
            continue
        past.append({"what": "ended", "of": early})
        if holding is not None and early["player"] in (None, history.holder(past, holding) or early["player"]):
            past.append(early | {"what": "shown", "at": now})


def settle(past: Past, deposit: str, now: datetime) -> None:
    """Judge one deposit, and write down what follows."""
    claim = history.facts(past, deposit)
    status = history.status(past, deposit)
    if status == "requested":
        note_guess(past, claim)
        verdict, holding = empty("pending"), None
    elif status == "approved":
        if holds_one(past, deposit):
            return
        verdict, holding = judge(past, claim, now)
    else:
        verdict, holding = negated(past, deposit, claim, now), None
        if holds_one(past, deposit):
            past.append({"what": "undone", "deposit": deposit})
    if verdict["result"] == "accepted" and holding is not None:
        reward = verdict["reward"]
        past.append(
            {"what": "redeemed", "deposit": deposit, "holding": holding, "player": claim["player"], "reward": reward}
        )
    past.append({"what": "verdict", "deposit": deposit, "at": now, **verdict})


def holds_one(past: Past, deposit: str) -> bool:
    return any(r["deposit"] == deposit for r in history.active(past))


def is_open(past: Past, deposit: str) -> bool:
    """Whether there is anything new to judge: a message, the end of waiting, or the quoted code's record."""
    last = history.last_verdict(past, deposit)
    if last is None or last["result"] == "waiting":
        return True
    since = past[history.position(past, last) :]
    quote = history.facts(past, deposit)["quote"]
    told = known_of(past, deposit) != known_of(past[: history.position(past, last)], deposit)
    in_time = [h for h in history.holdings(since) if h["at"] < history.facts(past, deposit)["received"] + history.GRACE]
    recorded = quote is not None and any(fold(h["code"]) == fold(quote) for h in in_time)
    if history.status(past, deposit) != "approved":
        return told or recorded
    if last["result"] == "no_code":
        return quote is not None
    return (
        last["result"] == "pending"
        or last["reason"] == "not_approved"
        or (last["reason"] == "too_many_attempts" and recorded)
    )


def known_of(past: Past, deposit: str) -> tuple[Entry, set[str]]:
    """What a message adds to, if it says anything new: the facts, and the statuses that were seen."""
    return history.facts(past, deposit), {m["status"] for m in history.messages(past, deposit)}


def negated(past: Past, deposit: str, claim: Entry, now: datetime) -> Entry:
    """Undone: the code and campaign stay, or are those that an approval would have found; never approved: refused."""
    if not any(m["status"] == "approved" for m in history.messages(past, deposit)):
        note_guess(past, claim)
        return empty("refused") | {"reason": "not_approved"}
    last = history.last_verdict(past, deposit)
    stands = last is not None and last["result"] in ("no_code", "rolled_back") and claim["quote"] is None
    kept = last if last is not None and (stands or last["code"] is not None) else judge(past, claim, now)[0]
    return empty("rolled_back") | {"code": kept["code"], "campaign": kept["campaign"]}


def empty(result: str) -> Entry:
    return {
        "result": result,
        "code": None,
        "campaign": None,
        "reason": None,
        "reward": None,
        "near_misses": [],
        "trace": [],
        "doubted": False,
    }


def of_code(holding: Entry) -> Entry:
    return {"code": holding["code"], "campaign": holding["campaign"]}


def judge(past: Past, claim: Entry, now: datetime) -> tuple[Entry, Entry | None]:
    if claim["quote"] is not None:
        return quoted(past, claim, now)
    candidates = unquoted(past, claim)
    if not candidates:
        return empty("no_code"), None
    passing = [h for h in candidates if not reasons(past, claim, h, now)]
    return tried(past, claim, (passing or candidates)[0], now)


def quoted(past: Past, claim: Entry, now: datetime) -> tuple[Entry, Entry | None]:
    holding = history.find(past, claim["quote"])
    if note_guess(past, claim):
        return empty("refused") | {"reason": "too_many_attempts"}, None
    if holding is None:
        if claim["what"] == "deposit" and now < claim["received"] + history.GRACE:
            return empty("waiting"), None
        return empty("refused") | {"reason": "unknown_code"}, None
    return tried(past, claim, holding, now)


def note_guess(past: Past, claim: Entry) -> bool:
    """Count the claim if it guesses; whether it is one too many."""
    player, at, deposit = claim["player"], claim["received"], claim["id"]
    if claim["quote"] is None or not history.is_strange(past, claim["quote"], player):
        return False
    if history.is_one_too_many(past, player, at, deposit):
        return True
    if deposit is None or not any(e["what"] == "guess" and e["deposit"] == deposit for e in past):
        past.append({"what": "guess", "player": player, "at": at, "deposit": deposit})
    return False


def tried(past: Past, claim: Entry, holding: Entry, now: datetime) -> tuple[Entry, Entry]:
    against = reasons(past, claim, holding, now)
    doubted = {"doubted": claim["outside"]}
    if not against:
        return empty("accepted") | doubted | of_code(holding) | {"reward": reward_of(past, claim, holding)}, holding
    if "other_player" in against:
        return empty("refused") | {"reason": "other_player", "trace": ["other_player"]}, holding
    found = near_misses(past, claim, holding, now)
    told = doubted | {"reason": against[0], "near_misses": found, "trace": against}
    return empty("refused") | of_code(holding) | told, holding


def unquoted(past: Past, claim: Entry) -> list[Entry]:
    """The player's candidates, newest first."""
    found = []
    for holding in history.holdings(past):
        terms = history.issue_terms(past, holding)
        ends = history.expires_at(past, holding)
        if (
            history.holder(past, holding) == claim["player"]
            and "player" in terms["match"]
            and cut(holding["at"]) <= claim["time"]
            and (ends is None or claim["time"] < cut(ends))
            and not history.is_revoked(past, holding)
            and history.uses(past, holding) < terms["max_redemptions"]
        ):
            found.append(holding)
    return found[::-1]
