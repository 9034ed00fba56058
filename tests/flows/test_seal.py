"""Seals: what was redeemed and undone is closed for good, and whatever is changed afterwards is named."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from promocast.errors import ConfigError, InputError
from promocast.flows import heads, seal
from promocast.ledger import audit, migrate, seals
from promocast.ledger.seals import Seal
from promocast.model import MINUTE
from tests.flows.conftest import Bench


def sealed(bench: Bench, batch: int = 100) -> list[Seal]:
    return seal.seal(bench.ledger, bench.clock(), os.urandom, batch)


def wrong(bench: Bench) -> list[str]:
    with bench.ledger.read() as conn:
        return audit.violations(conn)


def redeem(bench: Bench, *players: str) -> None:
    for code in bench.issue(*players, request_id=f"r-{players[0]}"):
        bench.deposit(f"tx-{code.player_id}", player_id=code.player_id, promo_code=code.code)


def by_hand(bench: Bench, statement: str, **values: Any) -> None:
    with bench.ledger.begin() as conn:
        changed = conn.execute(text(statement), values)
        assert changed.rowcount > 0


def test_redemptions_and_rollbacks_are_closed_once(bench: Bench) -> None:
    redeem(bench, "p1", "p2")
    [first] = sealed(bench)
    bench.clock.advance(MINUTE)
    bench.deposit("tx-p1", player_id="p1", status="rolled_back")
    redeem(bench, "p3")
    bench.deposit("tx-p3", player_id="p3", status="rolled_back")
    [second] = sealed(bench)

    assert (first.number, first.leaves, second.number, second.leaves) == (1, 2, 2, 3)
    assert sealed(bench) == []
    with bench.ledger.read() as conn:
        assert [(leaf.kind, fact and fact.deposit_id) for leaf, fact in seals.leaves_of(conn, 2)] == [
            ("rolled_back", "tx-p1"),
            ("redeemed", "tx-p3"),
            ("rolled_back", "tx-p3"),
        ]
    assert wrong(bench) == []


def test_a_batch_holds_no_more_than_it_may(bench: Bench) -> None:
    redeem(bench, "p1", "p2", "p3", "p4", "p5")

    assert [one.leaves for one in sealed(bench, batch=2)] == [2, 2, 1]
    assert wrong(bench) == []


def test_heads_follow_from_what_the_documentation_says(bench: Bench) -> None:
    """Computed anew from docs/seal.md, without the program's own functions."""
    redeem(bench, "p1")
    bench.deposit("tx-p1", player_id="p1", status="rolled_back")
    [first] = sealed(bench)

    def digest(kind: int, values: list[Any]) -> str:
        return hashlib.sha256(
            bytes([kind]) + json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        ).hexdigest()

    with bench.ledger.read() as conn:
        (redeemed, fact), (_, _) = seals.leaves_of(conn, 1)
    assert fact is not None
    ledger_id = migrate.identity(bench.ledger).ledger_id
    leaves = [
        digest(
            0,
            [
                "redeemed",
                fact.id,
                "welcome",
                fact.folded,
                "tx-p1",
                "50.00",
                "EUR",
                None,
                fact.at,
                redeemed.player_digest,
            ],
        ),
        digest(0, ["rolled_back", fact.id, "tx-p1", fact.rolled_back_at]),
    ]
    assert first.head == digest(1, [digest(1, ["promocast", ledger_id]), 1, first.sealed_at, *leaves])


CHANGES = {
    "amount": "UPDATE redemptions SET amount = '49.00' WHERE deposit_id = 'tx-p1'",
    "currency": "UPDATE redemptions SET currency = 'USD' WHERE deposit_id = 'tx-p1'",
    "time": "UPDATE redemptions SET at = at - 1 WHERE deposit_id = 'tx-p1'",
    "reward": "UPDATE redemptions SET reward = '{}' WHERE deposit_id = 'tx-p1'",
    "player": "UPDATE redemptions SET player_id = 'p2' WHERE deposit_id = 'tx-p1'",
    "code": "UPDATE codes SET folded = 'ANOTHER' WHERE player_id = 'p1'",
    "rollback taken back": "UPDATE redemptions SET rolled_back_at = NULL WHERE deposit_id = 'tx-p2'",
    "rollback's time": "UPDATE redemptions SET rolled_back_at = rolled_back_at + 1 WHERE deposit_id = 'tx-p2'",
    "gone": "DELETE FROM redemptions WHERE deposit_id = 'tx-p1'",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_sealed_row_that_is_changed_by_hand_is_named(bench: Bench, change: str) -> None:
    redeem(bench, "p1", "p2", "p3")
    bench.deposit("tx-p2", player_id="p2", status="rolled_back")
    sealed(bench)
    assert wrong(bench) == []
    with bench.ledger.read() as conn:
        ids = {fact.deposit_id: fact.id for _, fact in seals.leaves_of(conn, 1) if fact is not None}

    by_hand(bench, CHANGES[change])

    named = f"redemption {ids['tx-p2' if 'rollback' in change else 'tx-p1']}"
    found = [sentence for sentence in wrong(bench) if "seal" in sentence]
    assert [sentence.startswith(named) for sentence in found] == [True], found


def test_a_leaf_that_is_made_to_fit_breaks_its_seal(bench: Bench) -> None:
    redeem(bench, "p1")
    sealed(bench)
    redeem(bench, "p2")
    sealed(bench)
    by_hand(bench, "UPDATE redemptions SET amount = '49.00' WHERE deposit_id = 'tx-p1'")
    with bench.ledger.read() as conn:
        [(leaf, fact)] = seals.leaves_of(conn, 1)
    assert fact is not None

    by_hand(bench, "UPDATE seal_leaves SET leaf = :leaf WHERE seal = 1", leaf=fact.leaf("redeemed", leaf.player_digest))

    assert wrong(bench) == ["seal 1: its head does not follow from its leaves and from what was sealed before"]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE redemptions SET due_at = NULL", "redemption {}: redeemed, not sealed, and never to be sealed"),
        ("UPDATE redemptions SET rolled_back_at = 1, due_at = NULL", "redemption {}: rolled back, not sealed"),
    ],
)
def test_what_is_hidden_from_the_sealer_is_named(bench: Bench, statement: str, sentence: str) -> None:
    redeem(bench, "p1")
    if "rolled_back" in statement:
        sealed(bench)

    by_hand(bench, statement)

    with bench.ledger.read() as conn:
        redemption_id = conn.execute(text("SELECT id FROM redemptions")).scalar_one()
    assert any(found.startswith(sentence.format(redemption_id)) for found in wrong(bench))


def test_a_seal_that_is_gone_is_named(bench: Bench) -> None:
    for player in ("p1", "p2", "p3"):
        redeem(bench, player)
        sealed(bench)

    by_hand(bench, "DELETE FROM seal_leaves WHERE seal = 2")
    by_hand(bench, "DELETE FROM seals WHERE number = 2")

    assert wrong(bench)[:2] == [
        "seal 2: is missing",
        "seal 3: its head does not follow from its leaves and from what was sealed before",
    ]


def test_sealers_at_once_close_every_redemption_once(bench: Bench) -> None:
    redeem(bench, *(f"p{n}" for n in range(40)))
    barrier = threading.Barrier(4)

    def one(_: int) -> list[Seal]:
        barrier.wait()
        return sealed(bench, batch=3)

    with ThreadPoolExecutor(4) as pool:
        closed = [each for found in pool.map(one, range(4)) for each in found]

    closed += sealed(bench)
    assert sorted(one.number for one in closed) == list(range(1, len(closed) + 1))
    assert sum(one.leaves for one in closed) == 40
    assert wrong(bench) == []


# Heads that are kept elsewhere


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "heads.ndjson"


def test_heads_are_added_and_made_up_for(bench: Bench, kept: Path) -> None:
    redeem(bench, "p1")
    sealed(bench)
    assert (heads.write(bench.ledger, kept), heads.write(bench.ledger, kept)) == (1, 0)
    for player in ("p2", "p3"):
        redeem(bench, player)
        sealed(bench)

    with kept.open("ab") as file:
        file.write(b'{"ledger": "cut by a cra')
    assert heads.write(bench.ledger, kept) == 2

    assert [json.loads(line)["seal"] for line in kept.read_text().splitlines()] == [1, 2, 3]
    assert heads.differences(bench.ledger, kept) == []


def _sealed_anew(bench: Bench) -> None:
    """Whoever owns the ledger can change a row and seal everything again: the books then agree with themselves."""
    with bench.ledger.begin() as conn:
        for table in ("seal_leaves", "seals"):
            conn.execute(text(f"DELETE FROM {table}"))
        conn.execute(text("UPDATE redemptions SET amount = '9999.00', due_at = at"))
    sealed(bench)


def _cut(bench: Bench) -> None:
    by_hand(bench, "DELETE FROM seal_leaves WHERE seal = 2")
    by_hand(bench, "DELETE FROM seals WHERE number = 2")
    by_hand(bench, "UPDATE redemptions SET due_at = at WHERE deposit_id = 'tx-p2'")


@pytest.mark.parametrize(
    ("forge", "found"),
    [
        (_sealed_anew, ["seal 1: is not the one of line 1", "seal 2: is missing of line 2"]),
        (_cut, ["seal 2: is missing of line 2"]),
    ],
)
def test_kept_heads_show_what_the_ledger_itself_cannot(
    bench: Bench, kept: Path, forge: Callable[[Bench], None], found: list[str]
) -> None:
    for player in ("p1", "p2"):
        redeem(bench, player)
        sealed(bench)
    heads.write(bench.ledger, kept)

    forge(bench)

    assert wrong(bench) == []
    assert heads.differences(bench.ledger, kept) == found


def test_a_file_of_another_ledger_is_not_added_to(bench: Bench, kept: Path) -> None:
    redeem(bench, "p1")
    sealed(bench)
    line = b'{"ledger": "ffffffff", "seal": 9, "head": "00"}\n'
    kept.write_bytes(line)

    with pytest.raises(ConfigError, match="another ledger"):
        heads.write(bench.ledger, kept)

    assert kept.read_bytes() == line
    assert heads.differences(bench.ledger, kept)[0].startswith("line 1: of ledger ffffffff")


def test_a_file_that_holds_something_else_is_refused(bench: Bench, kept: Path) -> None:
    kept.write_text("no heads\n")

    with pytest.raises(InputError, match="line 1: no head of a seal"):
        heads.differences(bench.ledger, kept)


def test_a_file_that_cannot_be_written_is_said(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        heads.write(bench.ledger, tmp_path / "missing" / "heads.ndjson")
