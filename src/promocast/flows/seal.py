"""Seal: close what was redeemed and undone since the last time, bound to all that was closed before."""

from __future__ import annotations

from promocast import sealing
from promocast.errors import LedgerError
from promocast.ledger import Connection, Ledger, seals
from promocast.ledger.seals import ERASED, Fact, Kind, Leaf, Seal
from promocast.model import Instant, RandomBytes


def seal(ledger: Ledger, now: Instant, random: RandomBytes, batch: int) -> list[Seal]:
    """Close batches of at most `batch` redemptions until nothing waits that nobody holds; those that were closed."""
    closed: list[Seal] = []
    while True:
        with ledger.read() as conn:
            if not seals.any_open(conn):
                return closed
        with ledger.begin() as conn:
            one = _close(conn, now, random, batch)
        if one is None:
            return closed
        closed.append(one)


def _close(conn: Connection, now: Instant, random: RandomBytes, batch: int) -> Seal | None:
    ledger_id = seals.hold(conn)
    facts = seals.take_open(conn, batch)
    if not facts:
        return None
    known = seals.sealed(conn, [fact.id for fact in facts])
    named = sorted({fact.player_id for fact in facts if not fact.player_id.startswith(ERASED)})
    salts = seals.salts(conn, named, random)
    leaves: list[Leaf] = []
    for fact in facts:
        if (fact.id, "redeemed") not in known:
            # An erased player's salt is thrown away at once.
            salt = salts.get(fact.player_id) or random(sealing.SALT_BYTES)
            leaves.append(_leaf(fact, "redeemed", sealing.player_digest(salt, fact.player_id)))
        if fact.rolled_back_at is not None and (fact.id, "rolled_back") not in known:
            leaves.append(_leaf(fact, "rolled_back", None))
    if not leaves:
        seals.settle(conn, [fact.id for fact in facts])
        return None
    before = seals.last(conn)
    number = 1 if before is None else before.number + 1
    previous = sealing.first_head(ledger_id) if before is None else before.head
    head = sealing.head(previous, number, now, [leaf.leaf for leaf in leaves])
    closed = Seal(number, len(leaves), head, now)
    seals.record(conn, closed, leaves)
    seals.settle(conn, [fact.id for fact in facts])
    return closed


def _leaf(fact: Fact, kind: Kind, player_digest: str | None) -> Leaf:
    leaf = fact.leaf(kind, player_digest)
    if leaf is None:
        raise LedgerError(f"Redemption {fact.id} was not undone and cannot be sealed as undone.")
    return Leaf(kind, fact.id, player_digest, leaf)
