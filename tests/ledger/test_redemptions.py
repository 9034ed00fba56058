"""Redemptions: unique indexes and conditions in the statements decide, and what was done is counted."""

from __future__ import annotations

from promocast.jobs import read_deposit
from promocast.ledger import Connection, Ledger, codes, deposits
from promocast.ledger.deposits import Judged, NewRedemption
from tests.conftest import NOW
from tests.ledger import plant_codes


def redeemed(conn: Connection, code_id: int) -> int:
    return codes.by_ids(conn, [code_id])[code_id].redeemed


def plant_deposits(conn: Connection, *deposit_ids: str) -> None:
    told = [{"deposit_id": i, "player_id": "p1", "status": "approved"} for i in deposit_ids]
    deposits.open_deposits(conn, [read_deposit(one) for one in told], NOW)


def redemption(code_id: int, deposit_id: str) -> NewRedemption:
    return NewRedemption(code_id, deposit_id, "welcome", "p1", "50.00", "EUR", None, None)


def test_codes_give_no_more_than_they_have(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        some, gone = plant_codes(conn, "p1", "p2")
        assert codes.revoke(conn, gone, NOW)

        assert codes.redeem(conn, {some: 2}) == 0
        assert codes.redeem(conn, {some: 1, gone: 1}) == 1
        assert codes.redeem(conn, {some: 1}) == 0
        assert (redeemed(conn, some), redeemed(conn, gone)) == (1, 0)


def test_codes_take_back_no_more_than_they_gave(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        some, other = plant_codes(conn, "p1", "p2")
        codes.redeem(conn, {some: 1, other: 1})

        assert codes.give_back(conn, {some: 2}) == 0
        assert codes.give_back(conn, {some: 1, other: 1}) == 2
        assert (redeemed(conn, some), redeemed(conn, other)) == (0, 0)


def test_a_code_that_is_somebodys_stays_theirs(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        [code_id] = plant_codes(conn, "p1")

        assert codes.bind(conn, {code_id: "p2"}) == 0
        assert codes.by_ids(conn, [code_id])[code_id].player_id == "p1"


def test_a_deposit_has_one_redemption_and_gives_it_back_once(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        some, other = plant_codes(conn, "p1", "p2")
        plant_deposits(conn, "tx-1", "tx-2")

        first = deposits.add_redemptions(conn, [redemption(some, "tx-1")], NOW)
        again = deposits.add_redemptions(conn, [redemption(other, "tx-1"), redemption(other, "tx-2")], NOW)

        assert (set(first), set(again)) == ({"tx-1"}, {"tx-2"})
        assert deposits.roll_back(conn, [*first.values(), *again.values()], NOW) == 2
        assert deposits.roll_back(conn, list(first.values()), NOW) == 0


def test_verdicts_are_kept_for_the_deposits_that_there_are(ledger: Ledger) -> None:
    waiting = {"result": "waiting", "reason": "unknown_code"}
    with ledger.begin() as conn:
        plant_deposits(conn, "tx-1", "tx-2")
        judged = [
            Judged("tx-1", {"result": "no_code"}),
            Judged("tx-2", waiting, NOW + 1, "CRM77"),
            Judged("tx-3", waiting),
        ]

        assert deposits.keep_verdicts(conn, judged, NOW) == 2
        assert deposits.results(conn) == {"no_code": 1, "waiting": 1}
        assert deposits.due(conn, NOW + 1, 10) == ["tx-2"]
        assert deposits.anyone_waits(conn, ["CRM77"])
