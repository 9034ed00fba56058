"""What is counted: each outcome under its word, the book's open figures, and nothing by which a player is known."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from promocast import exposition, metrics
from promocast.channels.outbox import Outbox
from promocast.errors import LedgerUnavailable, Withheld
from promocast.exposition import FRESH, SHARE, Book, Merged
from promocast.flows import Grant
from promocast.flows.deliver import deliver
from promocast.ledger import Ledger, channels, figures, inbox, players
from promocast.ledger.channels import EVERY
from promocast.ledger.players import Player
from promocast.model import MINUTE, SECOND, Deferred, Failed, Halted, Message, Outcome, Rejected, Sent
from tests.flows.conftest import Bench, bench
from tests.flows.desk import POLICIES, POLICY, Unlimited, desk_of, planned, running_loop

__all__ = ["bench"]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with running_loop() as running_now:
        yield running_now


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0


@pytest.fixture
def gained() -> Callable[..., float]:
    """How much a count has grown since the test began; other tests of this process count as well."""
    before = {
        (s.name, *sorted(s.labels.items())): s.value for family in metrics.REGISTRY.collect() for s in family.samples
    }

    def gain(name: str, **labels: str) -> float:
        return value(name, **labels) - before.get((name, *sorted(labels.items())), 0)

    return gain


# Of each process.


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (Sent("ref"), "sent"),
        (Deferred(0, "429"), "deferred"),
        (Failed("http 500", maybe_sent=False), "failed"),
        (Failed("reset", maybe_sent=True), "unknown"),
        (Rejected("http 410", address_dead=True), "rejected"),
        (Halted("http 401"), "halted"),
    ],
)
def test_a_send_is_counted_by_its_outcome_and_timed(
    bench: Bench, loop: asyncio.AbstractEventLoop, gained: Callable[..., float], outcome: Outcome, word: str
) -> None:
    bench.issue("p1", "p2")
    if isinstance(outcome, Deferred):
        outcome = replace(outcome, until=bench.clock() + MINUTE)

    deliver(desk_of(bench, loop, {"popup": Outbox(lambda _: outcome)}), "popup", planned(bench, "popup"))

    sent = 1 if word == "halted" else 2  # of a halted channel one is tried; the other was claimed with it, or not
    assert gained("promocast_sends_total", channel="popup", outcome=word) >= sent
    assert gained("promocast_send_seconds_count", channel="popup") == gained(
        "promocast_sends_total", channel="popup", outcome=word
    )
    assert value("promocast_sends_in_flight", channel="popup") == 0


def test_what_an_adapter_raises_is_unknown(
    bench: Bench, loop: asyncio.AbstractEventLoop, gained: Callable[..., float]
) -> None:
    def raises(_: Message) -> Outcome:
        raise ValueError

    bench.issue("p1")

    deliver(desk_of(bench, loop, {"popup": Outbox(raises)}), "popup", planned(bench, "popup"))

    assert gained("promocast_sends_total", channel="popup", outcome="unknown") == 1


def test_what_the_gate_withholds_is_counted_at_the_claim_and_before_the_first_byte(
    bench: Bench, loop: asyncio.AbstractEventLoop, gained: Callable[..., float]
) -> None:
    def closes(_: Message) -> Outcome:
        raise Withheld("player_excluded")

    bench.issue("p1", "p2")
    excluded = Player("p1", None, None, {}, [{"type": "Excluded", "active": True, "until": None}])
    with bench.ledger.begin() as conn:
        players.put(conn, excluded, bench.clock())

    deliver(desk_of(bench, loop, {"popup": Outbox(closes)}), "popup", planned(bench, "popup"))

    assert gained("promocast_sends_total", channel="popup", outcome="withheld") == 2


def test_a_channel_that_is_not_configured_withholds(
    bench: Bench, loop: asyncio.AbstractEventLoop, gained: Callable[..., float]
) -> None:
    bench.issue("p1")

    deliver(desk_of(bench, loop, {}), "email", planned(bench, "email"))

    assert gained("promocast_sends_total", channel="email", outcome="withheld") == 1


def test_who_is_given_no_leave_is_counted(
    bench: Bench, loop: asyncio.AbstractEventLoop, gained: Callable[..., float]
) -> None:
    class Stingy(Unlimited):
        def take(self, account: str, wanted: int, rate: float, ahead: int) -> Grant:
            return Grant((), 60 * SECOND)

    bench.issue("p1")

    deliver(
        desk_of(bench, loop, limiter=Stingy(), policies={**POLICIES, "popup": POLICY}), "popup", planned(bench, "popup")
    )

    assert gained("promocast_limiter_waits_total", channel="popup") == 1


def test_codes_and_verdicts_are_counted(bench: Bench, gained: Callable[..., float]) -> None:
    code, _ = bench.issue("p1", "p2")
    bench.deposit("tx-1", promo_code=code.code)
    bench.deposit("tx-2", promo_code=code.code)

    assert gained("promocast_codes_issued_total", campaign="welcome") == 2
    assert gained("promocast_deposits_judged_total", result="accepted", reason="") == 1
    assert gained("promocast_deposits_judged_total", result="refused", reason="already_redeemed") == 1


# Of the ledger and the queue.


class Queue:
    def backlog(self, queue: str) -> int:
        return 7 if queue == "issue" else 0


def book(bench: Bench, elapsed: Callable[[], float] = lambda: 0.0) -> Book:
    return Book(bench.ledger, Queue(), bench.clock, elapsed)  # type: ignore[arg-type]


def read(source: Any) -> dict[tuple[str, ...], float]:
    """{(name, label values in their order): value}"""
    return {
        (s.name, *(s.labels[name] for name in sorted(s.labels))): s.value
        for family in source.collect()
        for s in family.samples
    }


def test_the_books_figures_are_what_is_open(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    bench.issue("p1", "p2", "p3")
    deliver(desk_of(bench, loop, {"popup": Outbox()}), "popup", planned(bench, "popup")[:1])
    with bench.ledger.begin() as conn:
        channels.pause(conn, "email", bench.clock())
        channels.halt(conn, "sms", "http 401", bench.clock(), bench.clock() + MINUTE)
        inbox.put(conn, "job", "unknown_campaign", "", b"{}", bench.clock())
    bench.clock.advance(90 * SECOND)

    found = read(book(bench))

    assert found["promocast_deliveries", "popup", "planned"] == 2
    assert ("promocast_deliveries", "popup", "sent") not in found
    assert found["promocast_deliveries_due", "popup"] == 2
    assert found["promocast_oldest_due_seconds", "popup"] == 90
    assert found["promocast_deliveries", "sms", "planned"] == 3
    assert found["promocast_deliveries_due", "sms"] == found["promocast_oldest_due_seconds", "sms"] == 0
    assert (found["promocast_channel_paused", "email"], found["promocast_channel_paused", "popup"]) == (1, 0)
    assert (found["promocast_channel_halted", "sms"], found["promocast_channel_halted", "email"]) == (1, 0)
    assert (found["promocast_inbox_entries", "job"], found["promocast_inbox_entries", "deposit"]) == (1, 0)
    assert (found["promocast_queue_messages", "issue"], found["promocast_queue_messages", "verify"]) == (7, 0)
    assert found["promocast_ledger_up",] == found["promocast_queue_up",] == 1


def test_endpoints_stand_beside_the_channels_once_there_is_something_to_say_of_them(bench: Bench) -> None:
    with bench.ledger.begin() as conn:
        channels.disable(conn, "popup", "digest", "http 410", bench.clock())
        channels.disable(conn, "endpoints.crm", "digest", "http 410", bench.clock())
        channels.halt(conn, "endpoints.bonus-engine", "http 302", bench.clock(), bench.clock())

    found = read(book(bench))

    disabled = {series[1] for series, value in found.items() if series[0] == "promocast_channel_disabled" and value}
    assert disabled == {"popup", "endpoints.crm"}
    assert found["promocast_channel_halted", "endpoints.bonus-engine"] == 1
    assert found["promocast_channel_paused", "endpoints.crm"] == 0
    assert ("promocast_channel_halted", "*") not in found


def test_the_oldest_due_delivery_is_found_over_its_states_and_parts_and_deposits_wait(bench: Bench) -> None:
    from promocast import jobs
    from promocast.flows import tell
    from tests.flows.conftest import job_for

    bench.accept(jobs.read_issue_job(job_for("p1")))
    facts = {"deposit_id": "tx-1", "player_id": "p1", "amount": "50.00", "currency": "EUR", "status": "approved"}
    tell.record(bench.ledger, [jobs.read_deposit(facts)], bench.clock())

    with bench.ledger.read() as conn:
        found = figures.figures(conn, bench.clock())
        assert figures.size(conn) > 10_000

    assert (found.parts, found.deposits) == (1, 1)


def test_all_is_paused_where_everything_is(bench: Bench) -> None:
    with bench.ledger.begin() as conn:
        channels.pause(conn, EVERY, bench.clock())

    found = read(book(bench))

    assert {v for (name, *_), v in found.items() if name == "promocast_channel_paused"} == {1}


def test_an_old_figure_does_not_pass_for_a_new_one_while_the_ledger_is_away() -> None:
    gone = Ledger("postgresql+psycopg://promocast@127.0.0.1:1/promocast")

    found = read(Book(gone, Queue(), lambda: 0))  # type: ignore[arg-type]
    gone.close()

    assert found["promocast_ledger_up",] == 0
    assert not [name for name, *_ in found if name.startswith("promocast_deliveries")]
    assert found["promocast_queue_up",] == 1


@pytest.mark.parametrize("cost", [0.01, 1.0])
def test_counting_is_held_to_a_share_of_the_time(bench: Bench, monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    counted: list[float] = []
    now = [0.0]

    def slow(*_: Any) -> Any:
        counted.append(now[0])
        now[0] += cost
        raise LedgerUnavailable("enough")

    monkeypatch.setattr(figures, "figures", slow)
    asked = book(bench, lambda: now[0])

    for _ in range(200):
        asked.collect()
        now[0] += 1

    assert len(counted) > 2
    between = [later - earlier for earlier, later in pairwise(counted)]
    assert min(between) >= max(FRESH, SHARE * cost)
    assert max(between) <= max(FRESH, SHARE * cost) + cost + 1.01


# As it is served.


def test_the_expositions_of_processes_become_one_that_a_scraper_reads(bench: Bench) -> None:
    metrics.SENDS.labels("popup", "sent").inc(0)
    one = exposition.of_process("worker-deliver").decode()
    other = exposition.of_process("sweeper", book(bench)).decode()

    text = exposition.render(Merged({"worker-deliver": one, "sweeper": other, "api": None})).decode()

    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names)), "a name stands in one place"
    found = {f.name: f for f in text_string_to_metric_families(text)}
    sends = [s.labels["process"] for s in found["promocast_sends"].samples if s.labels["outcome"] == "sent"]
    assert set(sends) == {"worker-deliver", "sweeper"}
    assert {s.labels["process"] for s in found["promocast_deliveries"].samples} == {"sweeper"}
    up = {s.labels["process"]: s.value for s in found["promocast_process_up"].samples}
    assert up == {"worker-deliver": 1, "sweeper": 1, "api": 0}


def test_no_label_tells_of_a_player(bench: Bench, loop: asyncio.AbstractEventLoop) -> None:
    codes = bench.issue("p-84213")
    deliver(desk_of(bench, loop), "popup", planned(bench, "popup"))
    deliver(desk_of(bench, loop), "email", planned(bench, "email"))
    bench.deposit("tx-77", player_id="p-84213", promo_code=codes[0].code)

    # Without the figures, in which any digits may stand.
    lines = exposition.of_process("worker-all", book(bench)).decode().splitlines()
    names = "\n".join(line.rpartition(" ")[0] for line in lines if not line.startswith("#"))

    assert 'channel="popup"' in names
    for secret in ("84213", codes[0].code, "example.com", "tx-77", "35699"):
        assert secret not in names
