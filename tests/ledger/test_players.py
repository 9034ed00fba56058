"""Players: what is known of them is replaced whole, and without a record everything is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from promocast.ledger import Ledger, players
from promocast.ledger.players import Player
from promocast.model import DAY
from tests.conftest import NOW

ANN = Player("p1", "de", "Europe/Malta", {"email": True, "sms": False}, [{"type": "Excluded", "active": True}])


def blocked(*blocks: dict[str, Any]) -> Player:
    return Player("p1", None, None, {}, list(blocks))


def test_a_player_is_recorded_with_all_that_is_known(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        players.put(conn, ANN, NOW)

    with ledger.read() as conn:
        assert players.by_ids(conn, ["p1"]) == {"p1": ANN}


def test_a_second_record_takes_the_place_of_the_first(ledger: Ledger) -> None:
    now_known = Player("p1", None, None, {"telegram": True}, [])
    with ledger.begin() as conn:
        players.put(conn, ANN, NOW)
        players.put(conn, now_known, NOW + 1)

    with ledger.read() as conn:
        assert players.by_ids(conn, ["p1"]) == {"p1": now_known}


def test_a_player_without_a_record_is_absent(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        players.put(conn, ANN, NOW)

    with ledger.read() as conn:
        assert set(players.by_ids(conn, ["p1", "p2"])) == {"p1"}
        assert players.by_ids(conn, []) == {}


@pytest.mark.parametrize("kind", ["Excluded", "Blocked"])
def test_an_active_block_of_either_type_excludes(kind: str) -> None:
    assert blocked({"type": kind, "active": True}).excluded(NOW)


def test_a_block_that_is_not_active_excludes_nobody() -> None:
    assert not blocked({"type": "Excluded", "active": False, "until": NOW + DAY}).excluded(NOW)


def test_a_block_excludes_until_its_end_and_not_at_it() -> None:
    player = blocked({"type": "Blocked", "active": True, "until": NOW + DAY})

    assert [player.excluded(now) for now in (NOW, NOW + DAY - 1, NOW + DAY)] == [True, True, False]


def test_one_active_block_among_others_is_enough() -> None:
    ended = {"type": "Blocked", "active": True, "until": NOW}
    lifted = {"type": "Excluded", "active": False}

    assert not blocked(ended, lifted).excluded(NOW)
    assert blocked(ended, lifted, {"type": "Excluded", "active": True, "until": None}).excluded(NOW)
