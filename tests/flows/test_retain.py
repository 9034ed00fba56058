"""Retention: raw bodies and personal data are kept for as long as is configured, codes for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promocast.flows import retain
from promocast.flows.chores import Chores
from promocast.ledger import Connection, audit, codes, deliveries, inbox
from promocast.ledger.codes import Code
from promocast.model import DAY, HOUR, MINUTE
from promocast.settings import RetentionSettings, SealSettings
from tests.flows.conftest import CAMPAIGN, Bench

KEEP = RetentionSettings(bodies=30 * DAY, personal=90 * DAY)
ENDLESS = CAMPAIGN.replace('valid_for = "7d"\n', "")


def close_deliveries(bench: Bench) -> None:
    """As if all of them had been sent, or given up."""
    with bench.ledger.begin() as conn:
        conn.exec_driver_sql("UPDATE deliveries SET state = 'skipped', due_at = NULL")


def walk(bench: Bench, limit: int = 100) -> int:
    stripped, after = 0, 0
    while True:
        count, further = retain.personal(bench.ledger, KEEP, bench.clock(), after, limit)
        stripped += count
        if further is None:
            return stripped
        after = further


def found(bench: Bench, *ids: int) -> list[Code]:
    with bench.ledger.read() as conn:
        known = codes.by_ids(conn, ids)
    return [known[code_id] for code_id in ids]


def test_a_code_that_is_over_keeps_its_spelling_and_nothing_personal(bench: Bench) -> None:
    [code] = bench.issue("p1")
    close_deliveries(bench)

    bench.clock.advance(7 * DAY + KEEP.personal)
    assert walk(bench) == 0, "that long after its end, and not yet a moment longer"
    bench.clock.advance(1)
    assert walk(bench) == 1

    [kept] = found(bench, code.id)
    assert (kept.recipient, kept.code, kept.folded, kept.player_id) == ({}, code.folded, code.folded, "p1")
    assert walk(bench) == 0


def test_a_code_without_an_end_is_over_when_it_is_used_up(bench: Bench) -> None:
    bench.apply(ENDLESS)
    used, unused = bench.issue("p1", "p2")
    bench.deposit(player_id="p1", promo_code=used.code)
    close_deliveries(bench)

    bench.clock.advance(KEEP.personal)
    assert walk(bench) == 0
    bench.clock.advance(1)
    assert walk(bench) == 1

    assert [bool(code.recipient) for code in found(bench, used.id, unused.id)] == [False, True]


def test_a_revoked_code_is_over(bench: Bench) -> None:
    bench.apply(ENDLESS)
    [code] = bench.issue("p1")
    close_deliveries(bench)
    with bench.ledger.begin() as conn:
        codes.revoke(conn, code.id, bench.clock())

    bench.clock.advance(KEEP.personal + 1)

    assert walk(bench) == 1


def test_what_is_still_to_be_sent_keeps_its_addresses(bench: Bench) -> None:
    bench.issue("p1")
    bench.clock.advance(7 * DAY + KEEP.personal + 1)

    assert walk(bench) == 0


def test_the_walk_passes_all_codes_whatever_its_step(bench: Bench) -> None:
    bench.issue(*(f"p{n}" for n in range(7)))
    close_deliveries(bench)
    bench.clock.advance(7 * DAY + KEEP.personal + 1)

    assert walk(bench, limit=3) == 7


def test_raw_bodies_go_and_their_reasons_stay(bench: Bench) -> None:
    with bench.ledger.begin() as conn:
        put(conn, b"old", bench)
        bench.clock.advance(DAY)
        put(conn, b"newer", bench)

    bench.clock.advance(29 * DAY + 1)
    assert retain.bodies(bench.ledger, KEEP, bench.clock(), 100) == 1
    assert retain.bodies(bench.ledger, KEEP, bench.clock(), 100) == 0

    with bench.ledger.read() as conn:
        assert [(entry.reason, entry.body) for entry in inbox.waiting(conn)] == [
            ("unreadable_hook", b""),
            ("unreadable_hook", b"newer"),
        ]


def put(conn: Connection, body: bytes, bench: Bench) -> None:
    inbox.put(conn, "hook", "unreadable_hook", "crm: no JSON", body, bench.clock())


# The sweeper's chores


@pytest.fixture
def chores(bench: Bench, tmp_path: Path) -> Chores:
    return Chores(bench.ledger, SealSettings(head_file=tmp_path / "heads"), KEEP, os.urandom)


def test_chores_are_done_when_it_is_time_for_them(bench: Bench, chores: Chores, tmp_path: Path) -> None:
    [code] = bench.issue("p1")
    bench.deposit(promo_code=code.code)

    first = chores.do(bench.clock())
    bench.clock.advance(MINUTE - 1)
    second = chores.do(bench.clock())
    bench.clock.advance(1)
    third = chores.do(bench.clock())
    bench.clock.advance(HOUR)
    fourth = chores.do(bench.clock())

    assert first == {"sealed": 1, "bodies": 0, "personal": 0}
    assert (second, third) == ({}, {"sealed": 0})
    assert fourth == first | {"sealed": 0}
    assert (tmp_path / "heads").read_text().count("\n") == 1
    with bench.ledger.read() as conn:
        assert audit.violations(conn) == []
        assert deliveries.history(conn, code.id)


def test_heads_that_cannot_be_written_keep_nothing_from_being_sealed(bench: Bench, tmp_path: Path) -> None:
    [code] = bench.issue("p1")
    bench.deposit(promo_code=code.code)
    away = tmp_path / "away" / "heads"
    chores = Chores(bench.ledger, SealSettings(head_file=away), KEEP, os.urandom)

    assert chores.do(bench.clock())["sealed"] == 1
    away.parent.mkdir()
    bench.clock.advance(MINUTE)
    chores.do(bench.clock())

    assert away.read_text().count("\n") == 1
