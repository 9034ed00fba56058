"""Sweep: whatever is due in the book is rung for again, and what nobody will finish is brought to an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from promocast import jobs
from promocast.flows import tell
from promocast.flows.outcomes import Policy
from promocast.flows.sweep import Swept, sweep
from promocast.jobs import ISSUE, VERIFY
from promocast.ledger import deliveries, events
from promocast.model import DAY, HOUR, MINUTE, SECOND
from promocast.settings import SweepSettings, UnknownPolicy
from tests.conftest import NOW
from tests.flows.conftest import CAMPAIGN, Bench, job_for
from tests.flows.desk import POLICIES, POLICY, attempted, delivery, no_jitter, planned, revoke
from tests.flows.test_deliver import shown_by

POPUP_ONLY = CAMPAIGN.replace('send = ["popup", "email"]', 'send = ["popup"]')


def swept(
    bench: Bench,
    *,
    policies: Mapping[str, Policy] = POLICIES,
    short: Callable[[str], bool] = lambda _: True,
    batch: int = 2_000,
) -> Swept:
    return sweep(
        bench.ledger,
        settings=SweepSettings(ring_after=SECOND, batch=batch),
        versions=bench.versions,
        policies=policies,
        clock=bench.clock,
        jitter=no_jitter,
        ring=bench.ring,
        short=short,
    )


def claimed(bench: Bench, channel: str) -> list[int]:
    """Claim all of a channel's deliveries, as a sender does that then dies; their ids."""
    ids = planned(bench, channel)
    with bench.ledger.begin() as conn:
        deliveries.claim(
            conn, ids, now=bench.clock(), lease_until=bench.clock() + POLICY.lease, resends=0, max_attempts=3
        )
    return ids


def expired(bench: Bench) -> list[str]:
    """The players of all `code.expired` events."""
    with bench.ledger.read() as conn:
        found, _ = events.feed(conn, events.START, 1_000)
    return [event["player_id"] for event in found if event["type"] == "code.expired"]


# Ringing


def test_deliveries_are_rung_for_once_they_have_been_due_for_a_while(bench: Bench) -> None:
    bench.issue("p1", "p2")
    bench.rung.clear()

    bench.clock.advance(SECOND - 1)
    early = swept(bench)
    rung_early = [*bench.rung]
    bench.clock.advance(1)
    swept(bench)

    assert (early.deliveries, rung_early) == (0, []), "who planned them rang for them a moment ago"
    assert dict(bench.rung) == {
        "deliver.popup": planned(bench, "popup"),
        "deliver.email": planned(bench, "email"),
    }, "the reminder is not due"


def test_a_reminder_is_rung_for_when_its_time_has_come(bench: Bench) -> None:
    bench.issue("p1")

    bench.clock.advance(HOUR + SECOND)
    swept(bench)

    assert ("deliver.sms", planned(bench, "sms")) in bench.rung


def test_a_part_that_was_accepted_and_not_issued_is_rung_for(bench: Bench) -> None:
    part_id = bench.accept(jobs.read_issue_job(job_for("p1"))).part_id
    assert part_id is not None

    bench.clock.advance(SECOND)
    found = swept(bench)
    bench.issue_part(part_id)
    bench.clock.advance(SECOND)
    after = swept(bench)

    assert (found.parts, after.parts) == (1, 0)
    assert [ids for queue, ids in bench.rung if queue == ISSUE] == [[part_id]]


def test_a_deposit_that_was_recorded_and_not_judged_is_rung_for(bench: Bench) -> None:
    told = {"deposit_id": "tx-1", "player_id": "p1", "amount": "50.00", "currency": "EUR", "status": "approved"}
    tell.record(bench.ledger, [jobs.read_deposit(told)], bench.clock())

    bench.clock.advance(SECOND)
    found = swept(bench)
    bench.judge("tx-1")
    bench.clock.advance(DAY)
    after = swept(bench)

    assert (found.deposits, after.deposits) == (1, 0)
    assert bench.rung == [(VERIFY, ["tx-1"])]


def test_a_deposit_that_waits_for_its_code_is_rung_for_when_its_grace_has_ended(bench: Bench) -> None:
    bench.deposit(promo_code="CRM-77")

    bench.clock.advance(10 * MINUTE)
    swept(bench)
    early = [*bench.rung]
    bench.clock.advance(SECOND)
    swept(bench)

    assert (early, bench.rung) == ([], [(VERIFY, ["tx-1"])])


def test_a_queue_that_is_not_short_is_left_alone(bench: Bench) -> None:
    bench.issue("p1")
    bench.rung.clear()

    bench.clock.advance(SECOND)
    found = swept(bench, short=lambda queue: queue != "deliver.popup")

    assert found.deliveries == 2
    assert bench.rung == [("deliver.email", planned(bench, "email"))]


def test_one_pass_rings_for_no_more_than_a_batch_longest_due_first(bench: Bench) -> None:
    bench.apply(POPUP_ONLY)
    bench.issue("p1", "p2")
    bench.clock.advance(SECOND)
    bench.issue("p3", request_id="r-2")
    bench.rung.clear()

    bench.clock.advance(SECOND)
    swept(bench, batch=2)

    assert bench.rung == [("deliver.popup", planned(bench, "popup")[:2])]


def test_a_backlog_of_one_channel_leaves_no_other_out(bench: Bench) -> None:
    for code in bench.issue("p1", "p2", "p3"):
        shown_by(bench, code)
    bench.rung.clear()

    bench.clock.advance(SECOND)
    swept(bench, batch=2)

    assert "deliver.call" in {queue for queue, _ in bench.rung}


def test_where_nothing_is_due_nothing_is_rung(bench: Bench) -> None:
    assert swept(bench) == Swept(0, 0, 0, 0, 0, 0, 0)
    assert bench.rung == []


# Senders that died


def test_a_lease_that_has_not_ended_is_left_to_its_sender(bench: Bench) -> None:
    bench.issue("p1")
    [popup] = claimed(bench, "popup")

    bench.clock.advance(POLICY.lease - 1)

    assert swept(bench).leases_ended == 0
    assert delivery(bench, popup).state == "sending"


def test_what_a_dead_sender_left_becomes_unknown_and_is_resent_where_the_policy_allows(bench: Bench) -> None:
    bench.issue("p1")
    [popup] = claimed(bench, "popup")
    bench.rung.clear()

    ended_at = bench.clock.advance(POLICY.lease)
    found = swept(bench)
    row = delivery(bench, popup)
    bench.rung.clear()
    bench.clock.advance(6 * SECOND)
    swept(bench)

    assert found.leases_ended == 1
    assert (row.state, row.reason, row.unknowns, row.due_at) == ("unknown", "lease_ended", 1, ended_at + 5 * SECOND)
    assert attempted(bench, popup) == [(1, "unknown", "lease_ended")]
    assert ("deliver.popup", [popup]) in bench.rung


def test_where_the_policy_waits_for_evidence_nothing_is_resent_and_in_the_end_given_up(bench: Bench) -> None:
    bench.issue("p1")
    bench.clock.advance(HOUR)
    [sms] = claimed(bench, "sms")
    bench.clock.advance(POLICY.lease)
    swept(bench)
    bench.rung.clear()

    passes = []
    for wait in (POLICY.unknown_after, SECOND, DAY):
        bench.clock.advance(wait)
        passes.append(swept(bench).given_up)

    assert passes == [0, 1, 0]
    assert (delivery(bench, sms).state, delivery(bench, sms).due_at) == ("unknown", None)
    assert "deliver.sms" not in dict(bench.rung)


@pytest.mark.parametrize(("unknown", "resent"), [("once", 1), ("resend", 2), ("wait", 0)])
def test_senders_that_keep_dying_are_followed_by_others_as_often_as_the_policy_says(
    bench: Bench, unknown: UnknownPolicy, resent: int
) -> None:
    bench.apply(POPUP_ONLY)
    bench.issue("p1")
    policy = replace(POLICY, unknown=unknown, max_attempts=3)
    [popup] = planned(bench, "popup")
    claims = 0

    while (due_at := delivery(bench, popup).due_at) is not None:
        bench.clock.now = due_at + SECOND
        swept(bench, policies={**POLICIES, "popup": policy})
        with bench.ledger.begin() as conn:
            claims += len(
                deliveries.claim(
                    conn,
                    [popup],
                    now=bench.clock(),
                    lease_until=bench.clock() + policy.lease,
                    resends=policy.resends,
                    max_attempts=policy.max_attempts,
                )
            )

    assert claims == 1 + resent
    assert delivery(bench, popup).state == "unknown"


# Codes that have ended


def test_a_code_that_ends_unused_expires_exactly_once(bench: Bench) -> None:
    bench.issue("p1", "p2")

    passes = []
    for wait in (7 * DAY - 1, 1, DAY):
        bench.clock.advance(wait)
        passes.append(swept(bench).expired)

    assert passes == [0, 2, 0]
    assert sorted(expired(bench)) == ["p1", "p2"]


def test_expiry_is_told_as_of_the_codes_end_however_late_the_sweeper_is(bench: Bench) -> None:
    bench.issue("p1")
    bench.clock.advance(30 * DAY)
    swept(bench)

    with bench.ledger.read() as conn:
        found, _ = events.feed(conn, events.START, 100)
    assert [event["at"] for event in found if event["type"] == "code.expired"] == ["2026-12-01T10:00:00Z"]


def test_a_code_that_was_redeemed_or_revoked_does_not_expire(bench: Bench) -> None:
    issued = {code.player_id: code for code in bench.issue("redeemed", "revoked", "unused")}
    bench.deposit(player_id="redeemed", promo_code=issued["redeemed"].code)
    revoke(bench, issued["revoked"].id)

    bench.clock.advance(7 * DAY)
    swept(bench)

    assert expired(bench) == ["unused"]


def test_a_code_without_an_end_does_not_expire(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('valid_for = "7d"\n', ""))
    bench.issue("p1")

    bench.clock.advance(365 * DAY)

    assert swept(bench).expired == 0


# Two sweepers


def test_several_sweepers_at_once_double_nothing(bench: Bench) -> None:
    bench.apply(POPUP_ONLY)
    bench.issue(*(f"p{i}" for i in range(60)))
    bench.clock.now = NOW + 7 * DAY - POLICY.lease
    ids = claimed(bench, "popup")
    bench.clock.now = NOW + 7 * DAY
    gate = threading.Barrier(4)

    def sweep_along(_: int) -> Swept:
        gate.wait()
        return swept(bench)

    with ThreadPoolExecutor(4) as pool:
        passes = list(pool.map(sweep_along, range(4)))
    passes.append(swept(bench))

    assert sum(found.leases_ended for found in passes) == 60
    assert sum(found.expired for found in passes) == 60
    assert {(delivery(bench, popup).state, delivery(bench, popup).unknowns) for popup in ids} == {("unknown", 1)}
    assert sorted(expired(bench)) == sorted(f"p{i}" for i in range(60))
