"""Verify: whatever the order, number and simultaneity of what is told, a deposit redeems at most one code, once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import permutations
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from promocast import jobs
from promocast.campaign.document import LIKELY_ALPHABET
from promocast.errors import NotFound
from promocast.flows import issue, show, validate, verify
from promocast.flows import revoke as revoke_flow
from promocast.flows import tell as flow
from promocast.flows.validate import Asked
from promocast.flows.verify import Anew
from promocast.jobs import VERIFY
from promocast.ledger import audit, budgets, codes, deposits, events, inbox, players, schema
from promocast.ledger.codes import Code
from promocast.ledger.players import Player
from promocast.model import DAY, HOUR, MINUTE
from tests.flows.conftest import CAMPAIGN, Bench, job_for
from tests.flows.desk import revoke

PARTICULAR = CAMPAIGN.replace("[redemption]", '[redemption]\npayment_methods = ["VISA"]\ndeposit_index = [1]')
ANYBODYS = CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "7d"\nholder_only = false')
ONE_EACH = CAMPAIGN.replace("[redemption]", "[redemption]\nper_player = 1")
CONTRADICTIONS = [{"player_id": "p2"}, {"amount": "51.00"}, {"currency": "USD"}]
EXTERNAL = CAMPAIGN.replace('name = "Welcome deposit"', "allow_external_codes = true")


def code_of(bench: Bench, code_id: int) -> Code:
    with bench.ledger.read() as conn:
        return codes.by_ids(conn, [code_id])[code_id]


def verdict_of(bench: Bench, deposit_id: str = "tx-1") -> dict[str, Any]:
    with bench.ledger.read() as conn:
        known = deposits.get(conn, deposit_id)
    assert known is not None
    assert known.verdict is not None
    return known.verdict


def told(deposit_id: str, player_id: str, **facts: Any) -> dict[str, Any]:
    approved = {"amount": "50.00", "currency": "EUR", "status": "approved"}
    return {"deposit_id": deposit_id, "player_id": player_id} | approved | facts


def answer_rings(bench: Bench) -> None:
    """Judge the deposits that were rung for."""
    rung, bench.rung = bench.rung, []
    for queue, ids in rung:
        if queue == VERIFY:
            bench.judge(*ids)


def event_types(bench: Bench) -> list[str]:
    with bench.ledger.read() as conn:
        found, _ = events.feed(conn, events.START, 1_000)
    return [event["type"] for event in found]


def exclude(bench: Bench, player_id: str) -> None:
    with bench.ledger.begin() as conn:
        players.put(conn, Player(player_id, None, None, {}, [{"type": "Excluded", "active": True}]), bench.clock())


# Which code


def test_a_deposit_that_quotes_the_players_code_redeems_it(bench: Bench) -> None:
    [code] = bench.issue("p1")

    verdict = bench.deposit(promo_code=code.code)

    assert (verdict["result"], verdict["code"], verdict["campaign"]) == ("accepted", code.code, "welcome")
    assert verdict["reason"] is None
    assert all(check["passed"] for check in verdict["trace"])
    assert code_of(bench, code.id).redeemed == 1


def test_a_code_is_quoted_in_any_spelling_and_answered_in_the_ledgers(bench: Bench) -> None:
    [code] = bench.issue("p1")
    spelt = f" {code.code[:4].lower()}-{code.code[4:].lower()} "

    assert bench.deposit(promo_code=spelt)["code"] == code.code


def test_a_deposit_that_quotes_nothing_redeems_the_newest_code_that_fits(bench: Bench) -> None:
    bench.issue("p1", request_id="older")
    bench.clock.advance(HOUR)
    [newer] = bench.issue("p1", request_id="newer")

    first, second, third = (bench.deposit(deposit_id) for deposit_id in ("tx-1", "tx-2", "tx-3"))

    assert (first["result"], first["code"]) == ("accepted", newer.code)
    assert second["result"] == "accepted"
    assert second["code"] != newer.code
    assert third["result"] == "no_code"


def test_a_deposit_made_before_the_code_was_issued_does_not_redeem_it_unquoted(bench: Bench) -> None:
    bench.issue("p1")

    assert bench.deposit(occurred_at="2026-11-24T09:59:59Z")["result"] == "no_code"
    assert bench.deposit("tx-2", occurred_at="2026-11-24T10:00:00Z")["result"] == "accepted"


def test_a_quoted_code_decides_alone(bench: Bench) -> None:
    bench.issue("p1")
    [anothers] = bench.issue("p2", request_id="r-2")

    verdict = bench.deposit(promo_code=anothers.code)

    assert (verdict["result"], verdict["reason"]) == ("refused", "other_player")


# Refusals


def test_a_deposit_that_breaks_a_rule_is_refused_by_its_name_and_uses_nothing_up(bench: Bench) -> None:
    bench.apply(PARTICULAR)
    good: dict[str, Any] = {"amount": "20.00", "payment_method": "visa", "deposit_index": 1}
    breaches: list[tuple[str, dict[str, Any]]] = [
        ("below_minimum", {"amount": "19.99"}),
        ("above_maximum", {"amount": "500.01"}),
        ("wrong_currency", {"currency": "GBP"}),
        ("wrong_payment_method", {"payment_method": "SKRILL"}),
        ("wrong_payment_method", {"payment_method": None}),
        ("wrong_deposit_index", {"deposit_index": 2}),
    ]
    [code] = bench.issue("p1")

    refused = [bench.deposit(f"tx-{i}", promo_code=code.code, **good | facts) for i, (_, facts) in enumerate(breaches)]

    assert [(v["result"], v["reason"]) for v in refused] == [("refused", reason) for reason, _ in breaches]
    assert all(v["detail"] for v in refused)
    assert code_of(bench, code.id).redeemed == 0
    assert bench.deposit("tx-good", promo_code=code.code, **good)["result"] == "accepted"


def test_a_code_is_redeemable_until_the_second_at_which_it_ends(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.clock.advance(7 * DAY)

    late = bench.deposit("tx-1", promo_code=code.code, occurred_at="2026-12-01T10:00:00Z")
    timely = bench.deposit("tx-2", promo_code=code.code, occurred_at="2026-12-01T09:59:59.999Z")

    assert (late["result"], late["reason"]) == ("refused", "expired")
    assert timely["result"] == "accepted", "the moment of the deposit counts, not that of its message"


def test_a_code_that_was_revoked_is_refused(bench: Bench) -> None:
    [code] = bench.issue("p1")
    revoke(bench, code.id)

    assert bench.deposit(promo_code=code.code)["reason"] == "revoked"


def test_a_code_whose_campaign_has_not_started_is_refused_until_the_second_it_starts(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('name = "Welcome deposit"', 'starts_at = "2026-11-24T11:00:00Z"'))
    [code] = bench.issue("p1")
    bench.clock.advance(HOUR)

    early = bench.deposit("tx-1", promo_code=code.code, occurred_at="2026-11-24T10:59:59Z")
    timely = bench.deposit("tx-2", promo_code=code.code, occurred_at="2026-11-24T11:00:00Z")

    assert early["reason"] == "not_started"
    assert timely["result"] == "accepted"


def test_a_code_that_is_used_up_is_refused(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)

    verdict = bench.deposit("tx-2", promo_code=code.code)

    assert (verdict["result"], verdict["reason"], verdict["near_miss"]) == ("refused", "already_redeemed", None)
    assert code_of(bench, code.id).redeemed == 1


def test_a_player_redeems_a_campaign_no_more_often_than_it_allows(bench: Bench) -> None:
    bench.apply(ONE_EACH)
    [first] = bench.issue("p1")
    [second] = bench.issue("p1", request_id="r-2")

    bench.deposit("tx-1", promo_code=first.code)
    refused = bench.deposit("tx-2", promo_code=second.code)
    bench.deposit("tx-1", status="rolled_back")
    accepted = bench.deposit("tx-3", promo_code=second.code)

    assert (refused["result"], refused["reason"]) == ("refused", "limit_reached")
    assert accepted["result"] == "accepted", "the limit counts active redemptions"


def test_whoever_quotes_another_players_code_learns_nothing_about_it(bench: Bench) -> None:
    [code] = bench.issue("p1")
    revoke(bench, code.id)

    verdict = bench.deposit(player_id="p2", promo_code=code.code, amount="1.00")

    assert (verdict["reason"], verdict["code"], verdict["campaign"], verdict["near_miss"]) == (
        "other_player", None, None, None,
    )  # fmt: skip
    assert [check["rule"] for check in verdict["trace"]] == ["other_player"]


def test_a_code_that_is_not_bound_to_its_holder_is_anybodys(bench: Bench) -> None:
    bench.apply(ANYBODYS)
    [code] = bench.issue("p1")

    assert bench.deposit(player_id="p2", promo_code=code.code)["result"] == "accepted"


def test_an_excluded_player_redeems_nothing(bench: Bench) -> None:
    [code] = bench.issue("p1")
    exclude(bench, "p1")

    assert bench.deposit("tx-1", promo_code=code.code)["reason"] == "player_excluded"
    assert bench.deposit("tx-2")["reason"] == "player_excluded", "nor with a code that is not quoted"


def test_a_refusal_says_what_would_have_passed(bench: Bench) -> None:
    [code] = bench.issue("p1")

    verdict = bench.deposit(promo_code=code.code, amount="15.00")

    assert verdict["near_miss"] == {"changes": {"amount": "20.00"}, "text": "5.00 EUR short"}


def test_refusals_are_events_and_a_deposit_without_any_code_is_none(bench: Bench) -> None:
    bench.issue("p1")
    bench.deposit("tx-1", amount="1.00")
    bench.deposit("tx-2", player_id="nobody")

    assert event_types(bench).count("deposit.refused") == 1


# Told again, in any order


def test_a_deposit_told_again_keeps_its_one_verdict_and_redemption(bench: Bench) -> None:
    [code] = bench.issue("p1")
    first = bench.deposit(promo_code=code.code)

    bench.clock.advance(HOUR)
    bench.deposit(promo_code=code.code)
    bench.judge("tx-1")

    assert verdict_of(bench) == first
    assert code_of(bench, code.id).redeemed == 1
    assert event_types(bench).count("code.redeemed") == 1


def test_a_refusal_stands_although_the_deposit_would_pass_by_now(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)
    refused = bench.deposit("tx-2", promo_code=code.code)

    bench.deposit("tx-1", status="rolled_back")
    bench.judge("tx-2")

    assert verdict_of(bench, "tx-2") == refused


def test_a_rollback_gives_the_code_back_for_a_later_deposit(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)

    undone = bench.deposit("tx-1", status="rolled_back")
    later = bench.deposit("tx-2", promo_code=code.code)

    assert (undone["result"], undone["code"], undone["campaign"]) == ("rolled_back", code.code, "welcome")
    assert undone["reason"] is None
    assert later["result"] == "accepted"
    assert code_of(bench, code.id).redeemed == 1


def test_a_rollback_told_twice_gives_back_once(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "7d"\nmax_redemptions = 2'))
    [code] = bench.issue("p1")
    for deposit_id in ("tx-1", "tx-2"):
        bench.deposit(deposit_id, promo_code=code.code)

    for status in ("rolled_back", "cancelled", "rejected"):
        bench.deposit("tx-1", status=status)

    assert code_of(bench, code.id).redeemed == 1
    assert event_types(bench).count("code.rolled_back") == 1


@pytest.mark.parametrize("quoted_in", ["every message", "the request only"])
@pytest.mark.parametrize("statuses", [("requested", "approved"), ("requested", "approved", "rolled_back")], ids=len)
def test_in_every_order_the_messages_about_a_code_and_a_deposit_end_alike(
    bench: Bench, statuses: tuple[str, ...], quoted_in: str
) -> None:
    """Each order has a player, a code and a deposit of its own; every step comes twice, a minute after the last."""

    def play(order: Iterable[str], number: int) -> tuple[Any, ...]:
        player_id, code = f"p{number}", LIKELY_ALPHABET[number] * 8
        part_id = bench.accept(jobs.read_issue_job(job_for(player_id, request_id=player_id))).part_id
        assert part_id is not None
        for step in [step for step in order for _ in range(2)]:
            if step == "issue":
                issue.issue_part(
                    bench.ledger,
                    part_id,
                    versions=bench.versions,
                    clock=bench.clock,
                    random=lambda count: bytes([number]) * count,
                    ring=bench.ring,
                )
            else:
                quotes = step == "requested" or quoted_in == "every message"
                quote = {"promo_code": code} if quotes else {}
                bench.deposit(player_id, player_id=player_id, status=step, **quote)
            answer_rings(bench)
            bench.clock.advance(MINUTE)
        with bench.ledger.read() as conn:
            redeemed = codes.by_folded(conn, [code])[code].redeemed
        verdict = verdict_of(bench, player_id)
        return verdict["result"], verdict["code"] == code, verdict["campaign"], verdict["reason"], redeemed

    ends = {order: play(order, number) for number, order in enumerate(permutations(["issue", *statuses]))}

    undone = "rolled_back" in statuses
    expected = ("rolled_back", True, "welcome", None, 0) if undone else ("accepted", True, "welcome", None, 1)
    assert {order: end for order, end in ends.items() if end != expected} == {}


def test_a_code_learnt_late_reopens_a_deposit_that_had_none(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace("[redemption]", '[redemption]\nmatch = ["code"]'))
    [code] = bench.issue("p1")

    first = bench.deposit()
    second = bench.deposit(promo_code=code.code)

    assert (first["result"], second["result"]) == ("no_code", "accepted")


@pytest.mark.parametrize(
    "news", [{"status": "requested"}, {"payment_method": "VISA"}], ids=lambda news: next(iter(news))
)
def test_only_a_promo_code_reopens_a_deposit_that_had_none(bench: Bench, news: dict[str, str]) -> None:
    [code] = bench.issue("p1")
    bench.deposit("tx-1", promo_code=code.code)
    bench.deposit("tx-2")
    bench.deposit("tx-1", status="rolled_back")  # the code is free again, for whoever deposits afterwards

    bench.deposit("tx-2", **news)

    assert verdict_of(bench, "tx-2")["result"] == "no_code"
    assert bench.deposit("tx-2", promo_code=code.code)["result"] == "accepted"


def test_an_approval_with_other_facts_goes_to_the_inbox_and_changes_nothing(bench: Bench) -> None:
    [code] = bench.issue("p1")
    first = bench.deposit(promo_code=code.code)
    others = [told("tx-1", "p1", promo_code=code.code) | fact for fact in CONTRADICTIONS]

    for other in others:
        bench.deposit(**other)
    bench.judge("tx-1")

    assert verdict_of(bench) == first
    with bench.ledger.read() as conn:
        kept = inbox.waiting(conn)
    assert [(entry.kind, entry.reason) for entry in kept] == [("deposit", "conflict")] * len(others)
    assert [orjson.loads(entry.body) for entry in kept] == others


def test_an_undone_deposit_keeps_the_code_that_it_was_refused_with(bench: Bench) -> None:
    [code] = bench.issue("p1")
    refused = bench.deposit("tx-1", amount="1.00")
    bench.deposit("tx-2", promo_code=code.code)  # the code is used up, and no candidate any more

    undone = bench.deposit("tx-1", amount="1.00", status="rolled_back")

    assert (refused["reason"], refused["code"]) == ("below_minimum", code.code)
    assert (undone["result"], undone["code"], undone["campaign"]) == ("rolled_back", code.code, "welcome")
    assert (undone["reason"], undone["near_miss"]) == (None, None)


# Codes that are not recorded yet


def test_a_deposit_waits_for_its_code_and_is_accepted_when_it_comes(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    waiting = bench.deposit(promo_code="CRM-77")
    bench.clock.advance(10 * MINUTE - 1)

    show.saved(bench.ledger, "crm 77", bench.clock(), versions=bench.versions, ring=bench.ring, player_id="p1")
    answer_rings(bench)

    assert (waiting["result"], waiting["reason"]) == ("waiting", "unknown_code")
    assert (verdict_of(bench)["result"], verdict_of(bench)["code"]) == ("accepted", "crm 77")


def test_a_deposit_whose_code_does_not_come_is_refused_when_the_grace_has_ended(bench: Bench) -> None:
    bench.deposit(promo_code="CRM-77")

    bench.clock.advance(10 * MINUTE - 1)
    before = bench.judge("tx-1")["tx-1"]
    bench.clock.advance(1)
    after = bench.judge("tx-1")["tx-1"]

    assert before["result"] == "waiting"
    assert (after["result"], after["reason"], after["code"]) == ("refused", "unknown_code", None)


def test_a_code_that_comes_after_the_grace_revives_nothing(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    bench.deposit(promo_code="CRM-77")
    bench.clock.advance(10 * MINUTE)
    bench.judge("tx-1")

    show.saved(bench.ledger, "CRM-77", bench.clock(), versions=bench.versions, ring=bench.ring, player_id="p1")
    answer_rings(bench)

    assert verdict_of(bench)["result"] == "refused"


def test_an_external_code_belongs_to_whoever_redeems_it_and_stays_theirs_after_a_rollback(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    code = show.saved(bench.ledger, "CRM-77", bench.clock(), versions=bench.versions, ring=bench.ring)

    accepted = bench.deposit("tx-1", promo_code="CRM-77")
    bench.deposit("tx-1", status="rolled_back")
    anothers = bench.deposit("tx-2", player_id="p2", promo_code="CRM-77")

    assert accepted["result"] == "accepted"
    assert code_of(bench, code.id).player_id == "p1"
    assert anothers["reason"] == "other_player"


def test_a_guess_too_many_is_none_once_the_code_comes_and_is_the_players(bench: Bench) -> None:
    bench.apply(EXTERNAL)
    for number in range(5):
        bench.deposit(f"tx-{number}", promo_code=f"NOPE-{number}")
    too_many = bench.deposit("tx-own", promo_code="CRM-77")
    bench.deposit("tx-own", status="requested")  # what is told meanwhile changes nothing
    bench.deposit("tx-anothers", promo_code="CRM-78")

    for text, player_id in (("CRM-77", "p1"), ("CRM-78", "p2")):
        show.saved(bench.ledger, text, bench.clock(), versions=bench.versions, ring=bench.ring, player_id=player_id)
    answer_rings(bench)

    assert too_many["reason"] == "too_many_attempts"
    assert verdict_of(bench, "tx-own")["result"] == "accepted"
    assert verdict_of(bench, "tx-anothers")["reason"] == "too_many_attempts"


# What a redemption causes


def test_a_redemption_calls_the_bonus_engine_once_for_each(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.rung.clear()
    bench.deposit("tx-1", promo_code=code.code)
    bench.deposit("tx-1", status="rolled_back")
    bench.deposit("tx-2", promo_code=code.code)

    d, r = schema.deliveries.c, schema.redemptions.c
    with bench.ledger.read() as conn:
        calls = conn.execute(select(d.id, d.event_key, d.event_id, d.due_at).where(d.channel == "call")).all()
        redemptions = conn.execute(select(r.id, r.deposit_id).order_by(r.id)).all()
        causes = events.data_of(conn, [call.event_id for call in calls])
    assert [call.event_key for call in calls] == [str(redemption.id) for redemption in redemptions]
    assert [causes[call.event_id][2]["deposit_id"] for call in calls] == ["tx-1", "tx-2"]
    assert all(call.due_at == bench.clock() for call in calls)
    assert bench.rung == [("deliver.call", [call.id]) for call in calls]


def test_the_event_of_a_redemption_says_what_was_deposited(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bench.deposit(promo_code=code.code, amount="50", payment_method="VISA", occurred_at="2026-11-24T10:00:01.500Z")

    with bench.ledger.read() as conn:
        [data] = [data for type_, _, data in events.of_code(conn, code.id) if type_ == "code.redeemed"]

    assert data == {
        "deposit_id": "tx-1",
        "player_id": "p1",
        "amount": "50.00",
        "currency": "EUR",
        "payment_method": "VISA",
        "occurred_at": "2026-11-24T10:00:01Z",
        "deposit_index": None,
        "quoted": True,
        "reward": None,
    }


# From the queue


def test_of_a_list_the_good_deposits_are_judged_and_the_others_kept_in_the_inbox(bench: Bench) -> None:
    [code] = bench.issue("p1")
    bad: list[Any] = [
        "junk",
        {"deposit_id": "tx-2"},
        told("tx-3", "p1", amount="-5.00"),
        told("tx-4", "p1", status="refunded"),
        told("tx-5", "p1", promo_code="\ud800"),
    ]

    ids = flow.record_message(bench.ledger, [bad[0], told("tx-1", "p1", promo_code=code.code), *bad[1:]], bench.clock())

    assert ids == ["tx-1"]
    assert bench.judge(*ids)["tx-1"]["result"] == "accepted"
    with bench.ledger.read() as conn:
        kept = inbox.waiting(conn)
    assert {(entry.kind, entry.reason) for entry in kept} == {("deposit", "invalid_deposit")}
    assert [entry.body for entry in kept] == [jobs.as_bytes(raw) for raw in bad]


def test_one_deposit_that_is_no_list_is_recorded_all_the_same(bench: Bench) -> None:
    assert flow.record_message(bench.ledger, told("tx-1", "p1"), bench.clock()) == ["tx-1"]


def test_several_messages_of_a_deposit_in_one_list_are_one_deposit(bench: Bench) -> None:
    [code] = bench.issue("p1")
    messages = [told("tx-1", "p1", status=status) for status in ("requested", "approved", "approved")]

    ids = flow.record_message(bench.ledger, [messages[0] | {"promo_code": code.code}, *messages[1:]], bench.clock())

    assert ids == ["tx-1"]
    assert bench.judge("tx-1")["tx-1"]["result"] == "accepted"


# Many at once


def at_once(bench: Bench, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Tell and judge each message in a thread of its own, all at one moment; the verdicts."""
    gate = threading.Barrier(len(messages))

    def tell(message: dict[str, Any]) -> dict[str, Any]:
        gate.wait()
        flow.record(bench.ledger, [jobs.read_deposit(message)], bench.clock())
        return bench.judge(message["deposit_id"])[message["deposit_id"]]

    with ThreadPoolExecutor(len(messages)) as pool:
        return list(pool.map(tell, messages))


def ended(verdicts: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(verdict["reason"] or verdict["result"] for verdict in verdicts)


@pytest.mark.parametrize("depositors", [("p", "p"), ("p", "q")], ids=["one player", "two players"])
def test_of_two_deposits_at_once_for_one_code_exactly_one_is_accepted(
    bench: Bench, depositors: tuple[str, str]
) -> None:
    bench.apply(ANYBODYS)
    issued = bench.issue(*(f"p{i}" for i in range(200)))

    results = [
        ended(
            at_once(bench, *(told(f"{i}-{n}", f"{who}{i}", promo_code=code.code) for n, who in enumerate(depositors)))
        )
        for i, code in enumerate(sorted(issued, key=lambda code: int((code.player_id or "")[1:])))
    ]

    assert results == [["accepted", "already_redeemed"]] * 200


def test_of_two_codes_deposited_at_once_a_player_redeems_what_the_campaign_allows(bench: Bench) -> None:
    bench.apply(ONE_EACH)
    holders = [f"p{i}" for i in range(20)]
    held: dict[str, list[Code]] = {holder: [] for holder in holders}
    for code in bench.issue(*holders) + bench.issue(*holders, request_id="r-2"):
        held[code.player_id or ""].append(code)

    results = [
        ended(at_once(bench, *(told(f"tx-{code.id}", holder, promo_code=code.code) for code in pair)))
        for holder, pair in held.items()
    ]

    assert results == [["accepted", "limit_reached"]] * 20


def test_one_deposit_told_by_many_at_once_is_judged_alike_and_redeems_once(bench: Bench) -> None:
    [code] = bench.issue("p1")

    verdicts = at_once(bench, *[told("tx-1", "p1", promo_code=code.code)] * 8)

    assert [verdict["result"] for verdict in verdicts] == ["accepted"] * 8
    assert code_of(bench, code.id).redeemed == 1


def test_overlapping_batches_judged_by_many_at_once_neither_deadlock_nor_overspend(bench: Bench) -> None:
    bench.apply(ANYBODYS)
    issued = bench.issue(*(f"p{i}" for i in range(8)))
    depositors = {f"tx-{i}": f"p{i % 40}" for i in range(60)}
    undone = {f"tx-{i}" for i in range(0, 60, 2)}
    gate = threading.Barrier(8)

    def message(deposit_id: str, chance: random.Random) -> jobs.Deposit:
        status = chance.choice(["requested", "approved", "rolled_back" if deposit_id in undone else "approved"])
        quote = {"promo_code": chance.choice(issued).code} if chance.random() < 0.8 else {}
        return jobs.read_deposit(told(deposit_id, depositors[deposit_id], status=status, **quote))

    def judge_batches(seed: int) -> None:
        chance = random.Random(seed)
        gate.wait()
        for _ in range(25):
            batch = chance.sample(list(depositors), 4)
            flow.record(bench.ledger, [message(deposit_id, chance) for deposit_id in batch], bench.clock())
            bench.judge(*chance.sample(batch, len(batch)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(judge_batches, range(8)))

    c, r = schema.codes.c, schema.redemptions.c
    active = select(r.code_id, func.count()).where(r.rolled_back_at.is_(None)).group_by(r.code_id)
    with bench.ledger.read() as conn:
        spent = {row.id: row.redeemed for row in conn.execute(select(c.id, c.redeemed).where(c.redeemed > 0))}
        redeemed = {code_id: number for code_id, number in conn.execute(active)}  # noqa: C416 - rows are no pairs
        accepted = deposits.results(conn)["accepted"]
    assert set(spent.values()) == {1}
    assert redeemed == spent
    assert accepted == len(spent)


# What may be spent


def budgeted(redemptions: int = 1_000, eur: str = "1000.00") -> str:
    budget = f'[redemption]\nbudget = {{ redemptions = {redemptions}, amount = {{ EUR = "{eur}" }} }}'
    return CAMPAIGN.replace("[redemption]", budget) + '\n[reward]\npercent = "50"\nmax = { EUR = "40.00" }\n'


def spent(bench: Bench) -> dict[str, int]:
    with bench.ledger.read() as conn:
        assert audit.violations(conn) == []
        return budgets.of_campaign(conn, "welcome")


def test_a_redemption_promises_its_reward_everywhere_and_a_rollback_takes_it_back(bench: Bench) -> None:
    bench.apply(budgeted())
    [code] = bench.issue("p1")
    reward = {"type": "percent", "amount": "25.00", "currency": "EUR"}

    assert bench.deposit(promo_code=code.code)["reward"] == reward
    assert spent(bench) == {"": 1, "EUR": 2_500}
    with bench.ledger.read() as conn:
        assert codes.redemptions_of(conn, [code.id])[code.id][0]["reward"] == reward
        [data] = [data for type_, _, data in events.of_code(conn, code.id) if type_ == "code.redeemed"]
    assert data["reward"] == reward

    undone = bench.deposit(status="rolled_back")
    assert (undone["result"], undone["reward"]) == ("rolled_back", None)
    assert spent(bench) == {"": 0, "EUR": 0}


def test_a_rollback_gives_budget_back_to_deposits_judged_afterwards(bench: Bench) -> None:
    bench.apply(budgeted(redemptions=1))
    first, second = bench.issue("p1", "p2")
    bench.deposit(promo_code=first.code)

    refused = bench.deposit("tx-2", player_id="p2", promo_code=second.code)
    bench.deposit(status="rolled_back")
    accepted = bench.deposit("tx-3", player_id="p2", promo_code=second.code)

    assert (refused["reason"], refused["near_miss"]) == ("budget_exhausted", None)
    assert accepted["result"] == "accepted"
    assert verdict_of(bench, "tx-2")["result"] == "refused", "a rollback revives no refused one"


def test_a_budget_acts_when_it_is_committed_and_counts_what_went_before(bench: Bench) -> None:
    [first, second, third] = bench.issue("p1", "p2", "p3")  # issued without any budget, and without a reward
    bench.deposit(promo_code=first.code)

    bench.apply(budgeted(redemptions=2))
    assert spent(bench) == {"": 1, "EUR": 0}
    assert bench.deposit("tx-2", player_id="p2", promo_code=second.code)["result"] == "accepted"
    assert bench.deposit("tx-3", player_id="p3", promo_code=third.code)["reason"] == "budget_exhausted"

    bench.apply(CAMPAIGN)
    assert spent(bench) == {}
    assert bench.deposit("tx-4", player_id="p3", promo_code=third.code)["result"] == "accepted"
    bench.apply(budgeted(redemptions=2))
    assert spent(bench) == {"": 3, "EUR": 0}
    [fourth] = bench.issue("p4", request_id="r-2")
    assert bench.deposit("tx-5", player_id="p4", promo_code=fourth.code)["reason"] == "budget_exhausted"


def test_a_batch_spends_a_budget_once(bench: Bench) -> None:
    bench.apply(budgeted(eur="60.00"))
    issued = bench.issue("p1", "p2", "p3", "p4")
    told_at_once = [told(f"tx-{c.player_id}", c.player_id or "", promo_code=c.code) for c in issued]

    ids = flow.record(bench.ledger, [jobs.read_deposit(one) for one in told_at_once], bench.clock())
    verdicts = bench.judge(*ids)

    assert [verdicts[i]["result"] for i in ids] == ["accepted", "accepted", "refused", "refused"]
    assert spent(bench) == {"": 2, "EUR": 5_000}


def test_the_limit_per_player_is_that_of_the_version_in_force(bench: Bench) -> None:
    first, second = (bench.issue("p1", request_id=f"r-{i}")[0] for i in (1, 2))
    bench.deposit(promo_code=first.code)

    bench.apply(ONE_EACH)

    assert bench.deposit("tx-2", promo_code=second.code)["reason"] == "limit_reached"


# Guessing, revoking, judging anew


def guess(bench: Bench, number: int, player_id: str = "p1") -> dict[str, Any]:
    return bench.deposit(f"guess-{number}", player_id=player_id, promo_code=f"NOSUCH{number}")


def test_after_five_guesses_in_an_hour_further_ones_are_refused_and_prolong_nothing(bench: Bench) -> None:
    first = [guess(bench, i)["result"] for i in range(5)]
    bench.clock.advance(HOUR // 2)
    refused = [guess(bench, i)["reason"] for i in range(5, 15)]
    bench.clock.advance(HOUR // 2)
    later = guess(bench, 20)["result"]

    assert first == ["waiting"] * 5
    assert refused == ["too_many_attempts"] * 10
    assert later == "waiting", "the five are an hour old, and the ten counted for nothing"


def test_another_players_code_is_a_guess_too_and_says_nothing(bench: Bench) -> None:
    [code] = bench.issue("p2")

    verdicts = [bench.deposit(f"tx-{i}", promo_code=code.code) for i in range(6)]

    assert [verdict["reason"] for verdict in verdicts] == ["other_player"] * 5 + ["too_many_attempts"]
    assert {verdict["code"] for verdict in verdicts} == {None}


def test_a_code_that_the_player_holds_is_never_refused_for_guessing(bench: Bench) -> None:
    [code] = bench.issue("p1")
    for i in range(6):
        guess(bench, i)

    assert bench.deposit(promo_code=code.code)["result"] == "accepted"


def test_one_deposit_is_one_guess_however_often_it_is_told_and_judged(bench: Bench) -> None:
    for _ in range(10):
        guess(bench, 0)
        bench.judge("guess-0")

    assert guess(bench, 1)["result"] == "waiting"


def test_one_players_guesses_are_not_anothers(bench: Bench) -> None:
    for i in range(6):
        guess(bench, i)

    assert guess(bench, 6, "p2")["result"] == "waiting"


def test_guessing_at_once_gets_no_more_guesses(bench: Bench) -> None:
    ids = [f"guess-{i}" for i in range(24)]
    messages = [jobs.read_deposit(told(i, "p1", promo_code=f"X{i}")) for i in ids]
    flow.record(bench.ledger, messages, bench.clock())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bench.judge, ids))

    results = [verdict_of(bench, i)["result"] for i in ids]
    assert (results.count("waiting"), results.count("refused")) == (5, 19)


def ask(bench: Bench, text: str, player_id: str = "p1", **facts: Any) -> dict[str, Any]:
    asked = Asked(player_id, Decimal(facts.pop("amount", "50.00")), facts.pop("currency", "EUR"), **facts)
    return validate.validate(bench.ledger, text, asked, bench.clock(), versions=bench.versions, terms=bench.terms)


def test_validating_says_what_a_deposit_would_come_to_and_changes_nothing(bench: Bench) -> None:
    bench.apply(budgeted(redemptions=1))
    [code] = bench.issue("p1")

    for _ in range(3):
        would_be = ask(bench, code.code)
        assert (would_be["deposit_id"], would_be["result"], would_be["reward"]["amount"]) == (None, "accepted", "25.00")
    assert ask(bench, code.code, amount="19.00")["near_miss"]["changes"] == {"amount": "20.00"}
    assert spent(bench) == {"": 0, "EUR": 0}
    assert code_of(bench, code.id).redeemed == 0
    assert bench.deposit(promo_code=code.code)["result"] == "accepted"
    assert ask(bench, code.code)["reason"] == "already_redeemed"


def test_validating_counts_as_guessing(bench: Bench) -> None:
    [code] = bench.issue("p2")

    reasons = [ask(bench, text)["reason"] for text in ("A1", "A2", code.code, "A3", "A4", "A5", code.code)]

    assert (
        reasons
        == ["unknown_code", "unknown_code", "other_player", "unknown_code", "unknown_code"] + ["too_many_attempts"] * 2
    )
    assert guess(bench, 1)["reason"] == "too_many_attempts"


def test_what_was_guessed_by_validating_is_forgotten_after_an_hour(bench: Bench) -> None:
    first = [ask(bench, f"NOSUCH{i}")["reason"] for i in range(6)]
    bench.clock.advance(HOUR)
    later = ask(bench, "NOSUCH6")["reason"]

    assert first == ["unknown_code"] * 5 + ["too_many_attempts"]
    assert later == "unknown_code"


def test_a_revoked_code_is_out_of_use_and_says_who_did_it(bench: Bench) -> None:
    [code] = bench.issue("p1")

    def revoke_it(text: str) -> None:
        how: dict[str, Any] = {"versions": bench.versions, "ring": bench.ring, "by": "ann", "reason": "leaked"}
        revoke_flow.revoke(bench.ledger, text, bench.clock(), **how)

    for _ in range(2):
        revoke_it(code.code.lower())

    assert bench.deposit(promo_code=code.code)["reason"] == "revoked"
    with bench.ledger.read() as conn:
        told_of = [data for type_, _, data in events.of_code(conn, code.id) if type_ == "code.revoked"]
    assert told_of == [{"by": "ann", "reason": "leaked"}]
    with pytest.raises(NotFound):
        revoke_it("NOSUCH")


def test_a_refused_deposit_is_judged_anew_by_hand_with_its_author(bench: Bench) -> None:
    bench.apply(budgeted(redemptions=1))
    first, second = bench.issue("p1", "p2")
    bench.deposit(promo_code=first.code)
    assert bench.deposit("tx-2", player_id="p2", promo_code=second.code)["reason"] == "budget_exhausted"
    bench.apply(budgeted(redemptions=2))
    assert bench.judge("tx-2")["tx-2"]["result"] == "refused", "a refusal stands by itself"

    anew = Anew("ann", "budget raised")
    verdicts = verify.judge(
        bench.ledger,
        ["tx-1", "tx-2"],
        versions=bench.versions,
        terms=bench.terms,
        clock=bench.clock,
        ring=bench.ring,
        anew=anew,
    )

    assert {i: verdict["result"] for i, verdict in verdicts.items()} == {"tx-1": "accepted", "tx-2": "accepted"}
    with bench.ledger.read() as conn:
        [told_of] = [e for e in events.feed(conn, events.START, 1_000)[0] if e["type"] == "deposit.reverified"]
    facts = {"deposit_id": "tx-2", "by": "ann", "reason": "budget raised", "was": "budget_exhausted"}
    assert told_of["data"].items() >= facts.items()
    assert told_of["code"] == verdicts["tx-2"]["code"], "it is a part of its code's story"
    assert spent(bench) == {"": 2, "EUR": 5_000}
