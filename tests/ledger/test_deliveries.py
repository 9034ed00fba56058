"""Deliveries: each is claimed by one sender, and what closes an attempt must be its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import Row, select

from promocast.ledger import Ledger, deliveries, figures, schema
from promocast.ledger.deliveries import Claimed, Closing, NewDelivery
from promocast.model import HOUR, MINUTE, SECOND, DeliveryState
from tests.conftest import NOW
from tests.ledger import plant_codes, plant_deliveries

LEASE = 15 * SECOND
LEASE_ENDED = NOW + LEASE


def plant(ledger: Ledger, count: int = 1, *, channel: str = "popup") -> list[int]:
    with ledger.begin() as conn:
        return plant_deliveries(conn, count, channel=channel)


def claim(
    ledger: Ledger, ids: list[int], now: int = NOW, *, resends: int = 1_000, max_attempts: int = 8
) -> list[Claimed]:
    with ledger.begin() as conn:
        return deliveries.claim(conn, ids, now=now, lease_until=now + LEASE, resends=resends, max_attempts=max_attempts)


def close(ledger: Ledger, *closings: Closing, now: int = NOW) -> set[int]:
    with ledger.begin() as conn:
        return deliveries.close(conn, closings, now)


def end_leases(ledger: Ledger, *, due_at: int | None = LEASE_ENDED) -> list[int]:
    """What the sweeper makes of leases that have ended; the ids."""
    with ledger.begin() as conn:
        overdue = deliveries.overdue_leases(conn, LEASE_ENDED, 100)
        closings = [
            Closing(d, "unknown", "lease_ended", due_at=due_at, unknown=True, history="unknown") for d in overdue
        ]
        return sorted(deliveries.close(conn, closings, LEASE_ENDED))


def row(ledger: Ledger, delivery_id: int) -> Row[Any]:
    with ledger.read() as conn:
        return conn.execute(select(schema.deliveries).where(schema.deliveries.c.id == delivery_id)).one()


def attempted(ledger: Ledger, delivery_id: int) -> list[tuple[int, str, str]]:
    """[(number, outcome, reason)] of the attempts that are kept."""
    with ledger.read() as conn:
        [told] = [h for h in deliveries.history(conn, row(ledger, delivery_id).code_id) if h["id"] == delivery_id]
    tried: Any = told["attempted"]
    return [(attempt["number"], attempt["outcome"], attempt["reason"]) for attempt in tried]


def test_a_delivery_is_planned_once_for_each_rule_event_and_address(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        [code_id] = plant_codes(conn, "p1")
        first = NewDelivery(code_id, 0, "push", 0, NOW)
        assert len(deliveries.plan(conn, [first], NOW)) == 1

        others = [
            NewDelivery(code_id, 1, "push", 0, NOW),
            NewDelivery(code_id, 0, "email", 0, NOW),
            NewDelivery(code_id, 0, "push", 1, NOW),
            NewDelivery(code_id, 0, "push", 0, NOW, event_key="7"),
        ]
        planned = deliveries.plan(conn, [first, *others], NOW)

    assert len(planned) == len(others)


def test_of_senders_who_claim_at_once_each_delivery_goes_to_one(ledger: Ledger) -> None:
    ids = plant(ledger, 100)
    gate = threading.Barrier(4)

    def take(turn: int) -> list[int]:
        gate.wait()
        return [delivery.id for delivery in claim(ledger, ids[turn:] + ids[:turn])]

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, (0, 25, 50, 75)))

    assert sorted(chain.from_iterable(taken)) == ids


def test_a_claim_opens_an_attempt_under_a_lease(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)

    [claimed] = claim(ledger, [delivery_id])

    assert (claimed.id, claimed.channel, claimed.attempts, claimed.unknowns) == (delivery_id, "popup", 1, 0)
    after = row(ledger, delivery_id)
    assert (after.state, after.attempts, after.attempted_at, after.due_at) == ("sending", 1, NOW, NOW + LEASE)


def test_what_is_not_due_yet_cannot_be_claimed(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)

    assert claim(ledger, [delivery_id], NOW - 1) == []
    assert len(claim(ledger, [delivery_id], NOW)) == 1


def test_what_has_ended_cannot_be_claimed(ledger: Ledger) -> None:
    ended: list[DeliveryState] = ["sent", "delivered", "rejected", "exhausted", "skipped"]
    ids = plant(ledger, len(ended))
    close(ledger, *(Closing(d, state, due_at=NOW) for d, state in zip(claim(ledger, ids), ended, strict=True)))

    assert claim(ledger, ids, NOW + HOUR) == []


@pytest.mark.parametrize(
    ("resends", "max_attempts", "claimable"), [(0, 8, False), (1, 8, True), (1, 2, True), (1, 1, False)]
)
def test_an_unknown_delivery_is_claimed_again_only_as_often_as_is_allowed(
    ledger: Ledger, resends: int, max_attempts: int, claimable: bool
) -> None:
    ids = plant(ledger)
    claim(ledger, ids)
    end_leases(ledger)

    again = claim(ledger, ids, LEASE_ENDED, resends=resends, max_attempts=max_attempts)

    assert bool(again) is claimable


def test_an_outcome_closes_its_attempt_once(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)
    [claimed] = claim(ledger, [delivery_id])

    first = close(ledger, Closing(claimed, "sent", ref="ref-1"), now=NOW + SECOND)
    second = close(ledger, Closing(claimed, "rejected", "too late"), now=NOW + MINUTE)

    assert (first, second) == ({delivery_id}, set())
    after = row(ledger, delivery_id)
    assert (after.state, after.ref, after.sent_at, after.due_at) == ("sent", "ref-1", NOW + SECOND, None)


def test_a_late_outcome_still_counts_after_the_lease_has_ended(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)
    [claimed] = claim(ledger, [delivery_id])
    end_leases(ledger)

    closed = close(ledger, Closing(claimed, "sent", ref="ref-1"), now=LEASE_ENDED + SECOND)

    assert closed == {delivery_id}
    assert row(ledger, delivery_id).state == "sent"
    assert claim(ledger, [delivery_id], NOW + HOUR) == [], "nobody sends it again"


def test_a_late_outcome_counts_no_more_once_the_next_attempt_has_begun(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)
    [first] = claim(ledger, [delivery_id])
    end_leases(ledger)
    [second] = claim(ledger, [delivery_id], LEASE_ENDED)

    late = close(ledger, Closing(first, "rejected", "410", history="failed"), now=LEASE_ENDED)
    timely = close(ledger, Closing(second, "sent"), now=LEASE_ENDED)

    assert (late, timely) == (set(), {delivery_id})
    assert row(ledger, delivery_id).state == "sent"
    assert attempted(ledger, delivery_id) == [(1, "unknown", "lease_ended")], (
        "an outcome that does not count is not kept"
    )


def test_an_attempt_that_cost_nothing_is_given_back(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)
    [claimed] = claim(ledger, [delivery_id])

    close(ledger, Closing(claimed, "planned", "429", due_at=NOW + MINUTE, counts=False))

    after = row(ledger, delivery_id)
    assert (after.state, after.attempts, after.reason, after.due_at) == ("planned", 0, "429", NOW + MINUTE)
    [again] = claim(ledger, [delivery_id], NOW + MINUTE)
    assert again.attempts == 1


def test_attempts_that_did_not_end_well_are_kept_as_history(ledger: Ledger) -> None:
    [delivery_id] = plant(ledger)
    [first] = claim(ledger, [delivery_id])
    close(ledger, Closing(first, "planned", "503", due_at=NOW, history="failed"))
    [second] = claim(ledger, [delivery_id])
    close(ledger, Closing(second, "unknown", "timeout", due_at=NOW, unknown=True, history="unknown"))
    [third] = claim(ledger, [delivery_id])
    close(ledger, Closing(third, "sent"))

    assert attempted(ledger, delivery_id) == [(1, "failed", "503"), (2, "unknown", "timeout")]
    after = row(ledger, delivery_id)
    assert (after.state, after.attempts, after.unknowns, after.reason) == ("sent", 3, 1, None)


def test_many_attempts_are_closed_at_once_each_in_its_own_way(ledger: Ledger) -> None:
    ids = plant(ledger, 4)
    sent, rejected, deferred, unknown = claim(ledger, ids)

    closed = close(
        ledger,
        Closing(unknown, "unknown", "timeout", due_at=NOW + HOUR, unknown=True),
        Closing(deferred, "planned", "429", due_at=NOW + MINUTE, counts=False),
        Closing(rejected, "rejected", "410"),
        Closing(sent, "sent", ref="{ref, 'quoted'}"),
    )

    assert closed == set(ids)
    found = {d.id: row(ledger, d.id) for d in (sent, rejected, deferred, unknown)}
    assert {
        name: (r.state, r.reason, r.ref, r.due_at, r.sent_at, r.attempts, r.unknowns)
        for name, r in zip(("sent", "rejected", "deferred", "unknown"), found.values(), strict=True)
    } == {
        "sent": ("sent", None, "{ref, 'quoted'}", None, NOW, 1, 0),
        "rejected": ("rejected", "410", None, None, None, 1, 0),
        "deferred": ("planned", "429", None, NOW + MINUTE, None, 0, 0),
        "unknown": ("unknown", "timeout", None, NOW + HOUR, None, 1, 1),
    }


def test_only_leases_that_have_ended_are_overdue(ledger: Ledger) -> None:
    ids = plant(ledger, 2)
    claim(ledger, ids[:1])

    with ledger.begin() as conn:
        assert deliveries.overdue_leases(conn, LEASE_ENDED - 1, 10) == []
        assert [delivery.id for delivery in deliveries.overdue_leases(conn, LEASE_ENDED, 10)] == ids[:1]


def test_what_waits_for_a_sender_is_due_longest_first(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        [code_id] = plant_codes(conn, "p1")
        due_at = {"popup": NOW + MINUTE, "email": NOW, "sms": NOW + HOUR}
        planned = [NewDelivery(code_id, 0, channel, 0, at) for channel, at in due_at.items()]
        deliveries.plan(conn, planned, NOW)

    with ledger.read() as conn:
        found = deliveries.due(conn, NOW + MINUTE, 10)
        longest = deliveries.due(conn, NOW + MINUTE, 1)

    assert [due.channel for due in found] == ["email", "popup"]
    assert longest == found[:1]


def test_giving_up_leaves_a_delivery_unknown_for_good(ledger: Ledger) -> None:
    ids = plant(ledger)
    claim(ledger, ids)
    end_leases(ledger, due_at=NOW + HOUR)

    with ledger.begin() as conn:
        assert deliveries.give_up(conn, ids, NOW + HOUR - 1) == [], "evidence is still awaited"
        assert deliveries.give_up(conn, ids, NOW + HOUR) == ids
        assert deliveries.give_up(conn, ids, NOW + HOUR) == []

    after = row(ledger, ids[0])
    assert (after.state, after.due_at) == ("unknown", None)
    assert claim(ledger, ids, NOW + 2 * HOUR) == []


def test_evidence_that_comes_after_giving_up_still_counts(ledger: Ledger) -> None:
    ids = plant(ledger)
    [claimed] = claim(ledger, ids)
    end_leases(ledger)
    with ledger.begin() as conn:
        deliveries.give_up(conn, ids, LEASE_ENDED)

    assert close(ledger, Closing(claimed, "sent"), now=NOW + HOUR) == set(ids)


@pytest.mark.parametrize(("channel", "in_flight"), [("popup", 1), ("call", 0)])
def test_what_is_in_flight_to_a_player_are_open_sends_to_them_and_no_calls(
    ledger: Ledger, channel: str, in_flight: int
) -> None:
    ids = plant(ledger, 3, channel=channel)
    claim(ledger, ids[:2])

    with ledger.read() as conn:
        counted = [figures.in_flight_to(conn, f"p{i}") for i in range(3)]

    assert counted == [in_flight, in_flight, 0]


def test_unsent_is_what_is_due_or_in_flight(ledger: Ledger) -> None:
    ids = plant(ledger, 4)
    first, second = claim(ledger, ids[:2])
    close(ledger, Closing(first, "sent"), Closing(second, "planned", "429", due_at=NOW + HOUR, counts=False))
    claim(ledger, ids[2:3])

    with ledger.read() as conn:
        assert figures.unsent(conn, NOW) == 2
        assert figures.unsent(conn, NOW + HOUR) == 3
        assert figures.counts(conn) == {"popup": {"sent": 1, "planned": 2, "sending": 1}}
