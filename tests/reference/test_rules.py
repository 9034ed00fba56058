"""The rules alone, without a ledger: many things wrong at once, and every moment and amount at which a rule turns."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from promocast.campaign import document, journey
from promocast.campaign.redemption import judge
from promocast.campaign.verdict import Candidate, Left
from promocast.model import MINUTE
from promocast.money import units
from tests.conftest import NOW
from tests.reference import history, model
from tests.reference.campaigns import PLAIN, terms
from tests.reference.conftest import profile
from tests.reference.history import Entry, Past
from tests.reference.play import agree, as_compared, as_said
from tests.reference.rules import reward_of
from tests.reference.stories import CHANCES, payments
from tests.reference.table import as_document, instant_of, moment_of
from tests.unit.makers import deposit

SPOILT = ("revoked", "blocked", "anothers", "used", "spent", "spent", "terms", "terms")


@st.composite
def situations(draw: st.DrawFn) -> Entry:
    """A code, what has become of it, and a deposit that quotes it."""
    drawn, version = draw(terms()), draw(terms())
    wrong = draw(st.frozensets(st.sampled_from(SPOILT), max_size=3))
    issued = PLAIN | drawn if "terms" in wrong or draw(CHANCES) else PLAIN | {"reward": drawn["reward"]}
    limits = {name: version[name] for name in ("per_player", "budget_redemptions")}
    limits["budget_amount"] = drawn["budget_amount"]
    return draw(payments()) | {
        "terms": issued,
        "in_force": issued | limits,
        "wrong": wrong,
        "turn": draw(st.sampled_from(["now", "starts_at", "ends_at", "expires_at"])),
        "offset": draw(st.sampled_from([-1, 0, 1])),
        "earlier": draw(st.lists(st.tuples(st.sampled_from(["p1", "p2"]), payments()), max_size=3)),
    }


def past_of(case: Entry) -> tuple[Past, Entry]:
    """(what happened, the code)"""
    at = {"at": moment_of(NOW) - timedelta(minutes=30), "campaign": "a"}
    holding: Entry = {
        "what": "issued",
        "request": "r",
        "code": "AAAA",
        "player": "p2" if "anothers" in case["wrong"] else "p1",
    }
    other = {"what": "issued", "request": "r", "code": "BBBB", "player": "p2", **at}
    holding |= at
    past = [{"what": "apply", "terms": case["terms"], **at}, {"what": "accepted", "request": "r", **at}, holding, other]
    past.append({"what": "apply", "terms": case["in_force"], **at})
    for number, (player, payment) in enumerate(case["earlier"]):
        code = holding if "used" in case["wrong"] else other
        redeemed = {"what": "redeemed", "deposit": f"earlier-{number}", "holding": code, "player": player}
        if "used" in case["wrong"] or "spent" in case["wrong"]:
            past.append(redeemed | {"reward": reward_of(past, payment, code)})
    if "revoked" in case["wrong"]:
        past.append({"what": "revoked", "holding": holding, **at})
    if "blocked" in case["wrong"]:
        past.append({"what": "blocks", "player": "p1", "blocks": [{"type": "Blocked", "active": True, "until": None}]})
    return past, holding


def candidate_of(past: Past, holding: Entry, case: Entry) -> Candidate:
    """The same for the product's rules."""
    campaign = document.from_json(as_document("a", case["terms"]), "test")
    limits = document.from_json(as_document("a", case["in_force"]), "test").redemption
    count, money = history.spent(past, "a")
    left = {c: max(0, units(most - money.get(c, 0), c)) for c, most in case["in_force"]["budget_amount"].items()}
    most = case["in_force"]["budget_redemptions"]
    issued_at = instant_of(holding["at"])
    return Candidate(
        code_id=1,
        code=holding["code"],
        campaign=campaign,
        player_id=holding["player"],
        issued_at=issued_at,
        expires_at=journey.expiry(campaign, issued_at if campaign.code.valid_from == "issued" else None),
        revoked_at=NOW if "revoked" in case["wrong"] else None,
        redeemed=history.uses(past, holding),
        max_redemptions=campaign.code.max_redemptions,
        player_redemptions=sum(r["player"] == "p1" for r in history.active(past)),
        per_player=limits.per_player,
        left=None if limits.budget is None else Left(most and max(0, most - count), left or None),
    )


@given(situations())
@profile(250, 2)
def test_a_deposit_of_a_known_code_is_judged_alike(case: Entry) -> None:
    past, holding = past_of(case)
    code = candidate_of(past, holding, case)
    turning = {**case["terms"], "expires_at": history.expires_at(past, holding), "now": moment_of(NOW)}[case["turn"]]
    occurred = history.cut((turning or moment_of(NOW)) + timedelta(seconds=case["offset"]))
    made = replace(
        deposit(promo_code="aa-aa", player_id="p1", occurred_at=instant_of(occurred)),
        amount=case["amount"],
        currency=case["currency"],
        payment_method=case["method"],
        deposit_index=case["index"],
    )
    verdict = judge(made, code, [], excluded="blocked" in case["wrong"], grace_until=NOW + MINUTE, now=NOW)

    claim: dict[str, Any] = case | {"player": "p1", "time": occurred, "outside": False}
    expected, _ = model.tried(past, claim, holding, moment_of(NOW))
    event(expected["reason"] or "accepted")
    agree("verdict", as_compared(verdict.as_json("tx-1"), expected), as_said(expected))
