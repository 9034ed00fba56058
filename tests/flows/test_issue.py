"""Issuing: once per recipient of a request, whatever is repeated; nothing lost that cannot be understood."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from promocast import jobs
from promocast.errors import Conflict, InputError, UnknownCampaign
from promocast.flows import issue
from promocast.ledger import events, figures, inbox, requests
from promocast.model import DAY, HOUR
from tests.flows.conftest import CAMPAIGN, Bench, job_for


def test_each_recipient_gets_one_code_and_the_deliveries_of_its_journey(bench: Bench) -> None:
    codes = bench.issue("p1", "p2")

    assert {code.player_id for code in codes} == {"p1", "p2"}
    assert len({code.folded for code in codes}) == 2
    assert all(code.expires_at == bench.clock() + 7 * DAY for code in codes)
    with bench.ledger.read() as conn:
        planned = figures.counts(conn)
    assert planned == {"popup": {"planned": 2}, "email": {"planned": 2}, "sms": {"planned": 2}}
    assert sorted(queue for queue, _ in bench.rung) == ["deliver.email", "deliver.popup"], "the reminder is not due"


def test_a_repeated_part_issues_nothing_further(bench: Bench) -> None:
    first = bench.issue("p1", "p2")
    again = bench.issue("p1", "p2")

    assert [code.code for code in again] == [code.code for code in first]


def test_a_player_named_again_in_a_later_part_keeps_the_first_code(bench: Bench) -> None:
    [first] = bench.issue("p1")
    codes = bench.issue("p1", "p2")

    assert len(codes) == 2
    assert next(code.code for code in codes if code.player_id == "p1") == first.code


def test_the_same_request_twenty_times_at_once_is_answered_alike_and_issued_once(bench: Bench) -> None:
    job = jobs.read_issue_job(job_for("p1", "p2", "p3"))
    gate = threading.Barrier(20)

    def ask(_: int) -> issue.Accepted:
        gate.wait()
        accepted = bench.accept(job, whole=True)
        if accepted.part_id is not None:
            bench.issue_part(accepted.part_id)
        return accepted

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))

    assert {answer.accepted for answer in answers} == {3}
    assert sum(answer.part_id is not None for answer in answers) == 1
    assert len(bench.issue("p1", "p2", "p3")) == 3


def test_one_part_issued_by_two_workers_at_once_is_issued_once(bench: Bench) -> None:
    job = jobs.read_issue_job(job_for(*(f"p{i}" for i in range(50))))
    part_id = bench.accept(job).part_id
    assert part_id is not None
    with ThreadPoolExecutor(4) as pool:
        issued = list(pool.map(lambda _: bench.issue_part(part_id), range(4)))

    assert sorted(issued) == [0, 0, 0, 50]


def test_another_body_under_the_same_request_id_is_refused(bench: Bench) -> None:
    bench.accept(jobs.read_issue_job(job_for("p1")), whole=True)

    with pytest.raises(Conflict) as refused:
        bench.accept(jobs.read_issue_job(job_for("p2")), whole=True)

    assert refused.value.reason == "request_id_reused"


def test_a_part_for_another_campaign_is_refused(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('id = "welcome"', 'id = "other"'))
    bench.issue("p1")

    with pytest.raises(Conflict) as refused:
        bench.accept(jobs.read_issue_job(job_for("p2", campaign="other")))

    assert refused.value.reason == "other_campaign"


def test_an_unknown_campaign_is_told(bench: Bench) -> None:
    with pytest.raises(UnknownCampaign):
        bench.accept(jobs.read_issue_job(job_for("p1", campaign="nope")))


@pytest.mark.parametrize(
    "message",
    [
        {"version": 1, "request_id": "r", "campaign": "nope", "recipients": [{"player_id": "p1"}]},
        {"version": 2, "request_id": "r", "campaign": "welcome", "recipients": [{"player_id": "p1"}]},
        {"request_id": "r"},
        {"request_id": "r\x00", "campaign": "welcome", "recipients": [{"player_id": "p1"}]},
        ["not", "a", "job"],
        None,
        "\ud800",
    ],
)
def test_a_message_that_is_no_job_goes_whole_to_the_inbox(bench: Bench, message: object) -> None:
    assert issue.accept_message(bench.ledger, message, bench.clock(), versions=bench.versions) is None

    with bench.ledger.read() as conn:
        [entry] = inbox.waiting(conn)
    assert entry.kind == "job"
    assert entry.body == jobs.as_bytes(message)


def test_bad_recipients_are_told_and_the_good_ones_get_their_codes(bench: Bench) -> None:
    job = job_for("p1")
    job["recipients"] += [
        {"player_id": "p2", "timezone": "Mars/Olympus"},
        {"player_id": "p3", "addresses": {"fax": "1"}},
        {"player_id": "p1"},
        {"player_id": "p4", "attributes": {"x": "\ud800"}},
        "nobody",
    ]
    accepted = bench.accept(jobs.read_issue_job(job))

    assert accepted.accepted == 1
    assert [rejection["index"] for rejection in accepted.rejected] == [1, 2, 3, 4, 5]
    assert accepted.rejected[0]["reason"].startswith("invalid_recipient: /timezone")
    assert accepted.rejected[2]["reason"] == "duplicate_recipient"
    assert accepted.part_id is not None
    assert bench.issue_part(accepted.part_id) == 1


def test_draws_that_collide_are_drawn_again_until_none_is_left(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace("length = 8", 'length = 2\nalphabet = "ABCD"'))

    codes = bench.issue(*(f"p{i}" for i in range(20)))

    assert len(codes) == 16, "all that two of four characters can make"
    with bench.ledger.read() as conn:
        summary = requests.summary(conn, "r-1", bench.clock())
    assert summary is not None
    assert (summary["accepted"], summary["issued"], summary["refused"]) == (20, 16, 4)


def test_nothing_is_accepted_after_the_campaign_has_ended(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('name = "Welcome deposit"', 'ends_at = "2026-11-24T11:00:00Z"'))
    bench.clock.advance(HOUR)

    with pytest.raises(InputError, match="ended 2026-11-24T11:00:00Z"):
        bench.issue("p1")


def test_what_was_accepted_in_time_and_not_issued_in_time_is_refused_by_name(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('name = "Welcome deposit"', 'ends_at = "2026-11-24T11:00:00Z"'))
    part_id = bench.accept(jobs.read_issue_job(job_for("p1"))).part_id
    bench.clock.advance(HOUR)

    assert part_id is not None
    assert bench.issue_part(part_id) == 0
    with bench.ledger.read() as conn:
        summary = requests.summary(conn, "r-1", bench.clock())
    assert summary is not None
    assert (summary["accepted"], summary["refused"]) == (1, 1)


def test_a_code_ends_with_its_campaign(bench: Bench) -> None:
    bench.apply(CAMPAIGN.replace('name = "Welcome deposit"', 'ends_at = "2026-11-24T11:00:00Z"'))

    [code] = bench.issue("p1")

    assert code.expires_at == bench.clock() + HOUR


def test_issued_codes_are_events_in_order(bench: Bench) -> None:
    codes = bench.issue("p1", "p2", "p3")
    with bench.ledger.read() as conn:
        first, cursor = events.feed(conn, events.START, 2)
        rest, end = events.feed(conn, cursor, 10)
        nothing, same = events.feed(conn, end, 10)

    assert [event["type"] for event in first + rest] == ["code.issued"] * 3
    assert {event["code"] for event in first + rest} == {code.code for code in codes}
    assert (nothing, same) == ([], end)
