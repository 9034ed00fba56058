"""Control: pausing a campaign, cancelling a request, and the size brake; each acts when it is committed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from promocast import jobs
from promocast.errors import InputError, NotFound
from promocast.flows import control, issue, sweep
from promocast.flows.deliver import deliver
from promocast.flows.watch import Watch
from promocast.ledger import codes, events, orders, requests
from promocast.model import DAY, HOUR, SECOND, Message, Outcome, Sent
from promocast.settings import BrakeSettings, SweepSettings
from tests.flows.conftest import CAMPAIGN, Bench, job_for
from tests.flows.desk import delivery, desk_of, planned
from tests.flows.test_gate import delivered, loop  # noqa: F401 - a fixture

BY = "key k_1"


class Outbox:
    """Takes every message."""

    asks_gate = False

    def __init__(self) -> None:
        self.sent: list[Message] = []

    async def send(self, message: Message) -> Outcome:
        self.sent.append(message)
        return Sent(f"m-{len(self.sent)}")

    async def close(self) -> None:
        return None


def send(bench: Bench, loop: asyncio.AbstractEventLoop, *channels: str) -> list[str]:  # noqa: F811
    """Deliver what is due on the channels; which of them got a message."""
    outbox = Outbox()
    desk = desk_of(bench, loop, dict.fromkeys((*channels, "call"), outbox))
    for channel in channels:
        deliver(desk, channel, planned(bench, channel))
    return [message.channel for message in outbox.sent]


def swept(bench: Bench) -> dict[str, list[Any]]:
    """What a pass of the sweeper rings for."""
    bench.rung.clear()
    sweep.sweep(
        bench.ledger,
        settings=SweepSettings(ring_after=0),
        versions=bench.versions,
        policies=desk_of(bench, None, {}).policies,  # type: ignore[arg-type]
        clock=bench.clock,
        jitter=lambda: 0.0,
        ring=bench.ring,
        short=lambda _: True,
    )
    return dict(bench.rung)


def states(bench: Bench, channel: str) -> Counter[str]:
    return Counter(delivery(bench, one).state for one in planned(bench, channel))


def done_by_hand(bench: Bench) -> list[tuple[str, str]]:
    with bench.ledger.read() as conn:
        return [(told["type"], told["by"]) for _, told in events.by_hand(conn, 0)]


# Pause


def test_a_paused_campaign_sends_players_nothing_and_loses_nothing(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    bench.issue("p1", "p2")

    assert control.pause(bench.ledger, "welcome", bench.clock(), by=BY)
    assert send(bench, loop, "popup", "email") == []
    assert (states(bench, "popup"), states(bench, "email")) == ({"planned": 2}, {"planned": 2})
    assert control.resume(bench.ledger, "welcome", bench.clock(), by=BY)
    assert send(bench, loop, "popup", "email") == ["popup", "popup", "email", "email"]

    assert done_by_hand(bench) == [("campaign.paused", BY), ("campaign.resumed", BY)]


def test_a_paused_campaign_judges_deposits_and_calls_systems(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    [code] = bench.issue("p1")
    control.pause(bench.ledger, "welcome", bench.clock(), by=BY)

    verdict = bench.deposit(promo_code=code.code)

    assert verdict["result"] == "accepted"
    assert send(bench, loop, "popup", "call") == ["call"]


def test_a_paused_campaign_issues_when_it_goes_on(bench: Bench) -> None:
    control.pause(bench.ledger, "welcome", bench.clock(), by=BY)

    assert bench.issue("p1") == []
    assert jobs.ISSUE not in swept(bench), "what is held is not rung for again and again"
    control.resume(bench.ledger, "welcome", bench.clock(), by=BY)
    [part_id] = swept(bench)[jobs.ISSUE]
    assert bench.issue_part(part_id) == 1


def test_a_message_on_its_way_is_stopped_by_a_pause(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    watch = Watch(bench.ledger, bench.clock)
    watch.look()

    def pause() -> None:
        control.pause(bench.ledger, "welcome", bench.clock(), by=BY)
        watch.look()

    assert delivered(bench, loop, watch, pause) == (0, {"planned": 1})


def test_what_a_pause_held_ends_with_its_code(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    bench.issue("p1")
    control.pause(bench.ledger, "welcome", bench.clock(), by=BY)
    send(bench, loop, "popup")

    bench.clock.advance(7 * DAY + SECOND)
    control.resume(bench.ledger, "welcome", bench.clock(), by=BY)

    assert send(bench, loop, "popup") == []
    assert states(bench, "popup") == {"skipped": 1}


def test_pausing_twice_is_pausing_once(bench: Bench) -> None:
    first, second = (control.pause(bench.ledger, "welcome", bench.clock(), by=BY) for _ in range(2))

    assert (first, second) == (True, False)
    assert control.resume(bench.ledger, "welcome", bench.clock(), by=BY)
    assert not control.resume(bench.ledger, "welcome", bench.clock(), by=BY)
    assert len(done_by_hand(bench)) == 2


def test_what_is_not_there_cannot_be_paused(bench: Bench) -> None:
    with pytest.raises(NotFound):
        control.pause(bench.ledger, "winback", bench.clock(), by=BY)


# Cancel


def test_of_a_cancelled_request_nothing_more_is_sent_or_issued(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    [sent, other] = [*bench.issue("p1", request_id="r-1"), *bench.issue("p1", request_id="r-2")]
    assert send(bench, loop, "popup") == ["popup", "popup"]
    waiting = bench.accept(jobs.read_issue_job(job_for("p2", request_id="r-1")))

    order = control.cancel(bench.ledger, "r-1", bench.clock(), by=BY)

    assert order.cancelled_at == bench.clock()
    assert waiting.part_id is not None
    assert bench.issue_part(waiting.part_id) == 0
    assert send(bench, loop, "email") == ["email"], "the other request's goes"
    assert states(bench, "email") == {"skipped": 1, "sent": 1}
    assert states(bench, "sms") == {"skipped": 1, "planned": 1}
    with bench.ledger.read() as conn:
        told = requests.summary(conn, "r-1", bench.clock())
        assert told is not None
        assert (told["cancelled"], told["issued"], told["refused"], told["planned"]) == (True, 1, 1, 0)
        assert codes.by_ids(conn, [sent.id])[sent.id].revoked_at is None
    assert bench.deposit(promo_code=sent.code)["result"] == "accepted", "the player has the code"
    assert other.id != sent.id
    assert done_by_hand(bench) == [("request.cancelled", BY)]


def test_a_message_on_its_way_is_stopped_by_a_cancel(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    watch = Watch(bench.ledger, bench.clock)
    watch.look()

    def cancel() -> None:
        control.cancel(bench.ledger, "r-1", bench.clock(), by=BY)
        watch.look()

    assert delivered(bench, loop, watch, cancel) == (0, {"skipped": 1})


def test_what_is_planned_after_a_cancel_is_not_sent(
    bench: Bench,
    loop: asyncio.AbstractEventLoop,  # noqa: F811
) -> None:
    """As by a journey that an event moves on."""
    bench.issue("p1")
    with bench.ledger.begin() as conn:
        order = orders.get(conn, "r-1")
        assert order is not None
        orders.cancel(conn, order.id, bench.clock())

    assert send(bench, loop, "popup", "email") == []
    assert states(bench, "popup") == {"skipped": 1}


# The size brake

BRAKE = BrakeSettings(times=4, least=10, history=3)


def ask(bench: Bench, ref: str, count: int, first: int = 0) -> issue.Accepted:
    """Ask for `count` codes; they are issued where they may be."""
    job = jobs.read_issue_job(job_for(*(f"p{first + n}" for n in range(count)), request_id=ref))
    accepted = issue.accept(bench.ledger, job, bench.clock(), versions=bench.versions, limits=BRAKE)
    if accepted.part_id is not None:
        bench.issue_part(accepted.part_id)
    return accepted


def issued(bench: Bench, ref: str) -> int:
    with bench.ledger.read() as conn:
        return len(codes.page(conn, request_ref=ref, limit=1_000))


def test_a_request_far_beyond_the_usual_waits_until_somebody_confirms_it(bench: Bench) -> None:
    for n, size in enumerate((2, 5, 20)):
        assert ask(bench, f"r-{n}", size).held is None

    held = ask(bench, "large", 21)

    assert held.held == "21 recipients are 4 times the usual 5: confirm the request, or cancel it"
    assert held.as_json()["accepted"] == 21
    assert issued(bench, "large") == 0
    assert jobs.ISSUE not in swept(bench)
    control.confirm(bench.ledger, "large", bench.clock(), by=BY)
    [part_id] = swept(bench)[jobs.ISSUE]
    bench.issue_part(part_id)
    assert issued(bench, "large") == 21
    assert ask(bench, "large", 100, first=100).held is None, "it was confirmed, however it grows"
    assert done_by_hand(bench) == [("request.confirmed", BY)]


def test_a_request_is_held_by_the_part_with_which_it_grows_too_large(bench: Bench) -> None:
    for n in range(3):
        ask(bench, f"r-{n}", 5)

    parts = [ask(bench, "grows", 8, first=8 * n).held is not None for n in range(4)]

    assert parts == [False, False, True, True]
    assert issued(bench, "grows") == 16


@pytest.mark.parametrize(("sizes", "count"), [((5, 5), 21), ((1, 1, 1), 9), ((5, 5, 5), 20)])
def test_what_is_not_far_beyond_the_usual_passes(bench: Bench, sizes: tuple[int, ...], count: int) -> None:
    """Without a history, below what is worth a question, and at the limit itself."""
    for n, size in enumerate(sizes):
        ask(bench, f"r-{n}", size)

    assert ask(bench, "large", count).held is None
    assert issued(bench, "large") == count


def test_a_held_request_may_be_cancelled_instead(bench: Bench) -> None:
    for n in range(3):
        ask(bench, f"r-{n}", 5)
    part_id = ask(bench, "large", 50).part_id

    order = control.cancel(bench.ledger, "large", bench.clock(), by=BY)

    assert (order.held_at, order.cancelled_at) == (None, bench.clock())
    assert part_id is not None
    assert bench.issue_part(part_id) == 0
    with pytest.raises(InputError, match="does not wait to be confirmed"):
        control.confirm(bench.ledger, "large", bench.clock(), by=BY)


def test_what_was_not_asked_for_cannot_be_cancelled(bench: Bench) -> None:
    with pytest.raises(NotFound):
        control.cancel(bench.ledger, "r-9", bench.clock(), by=BY)


# Another version while codes are under way


def test_what_was_accepted_before_an_edit_keeps_the_version_of_its_time(bench: Bench) -> None:
    before = bench.accept(jobs.read_issue_job(job_for("p1", request_id="r-1")))
    bench.apply(CAMPAIGN.replace('valid_for = "7d"', 'valid_for = "1h"'))
    after = bench.accept(jobs.read_issue_job(job_for("p2", request_id="r-1")))
    for accepted in (before, after):
        assert accepted.part_id is not None
        bench.issue_part(accepted.part_id)

    with bench.ledger.read() as conn:
        found = {code.player_id: code for code in codes.page(conn)}
    assert {name: (code.campaign_version, code.expires_at) for name, code in found.items()} == {
        "p1": (1, bench.clock() + 7 * DAY),
        "p2": (2, bench.clock() + HOUR),
    }
