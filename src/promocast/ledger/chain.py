"""Whether the seals still hold: every batch follows from the one before, every sealed row is what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import Connection, select

from promocast import sealing
from promocast.ledger import seals
from promocast.ledger.schema import ledger
from promocast.ledger.seals import ERASED, Fact, Leaf, Seal

_PAGE: Final = 200


def violations(conn: Connection) -> Iterator[str]:
    """One sentence for each row that is not what was sealed, and for each batch that does not follow."""
    previous = sealing.first_head(conn.execute(select(ledger.c.ledger_id)).scalar_one())
    expected, page = 1, seals.after(conn, 0, _PAGE)
    while page:
        for seal in page:
            for missing in range(expected, seal.number):
                yield f"seal {missing}: is missing"
            leaves = seals.leaves_of(conn, seal.number)
            if seal.head != sealing.head(previous, seal.number, seal.sealed_at, [leaf.leaf for leaf, _ in leaves]):
                yield f"seal {seal.number}: its head does not follow from its leaves and from what was sealed before"
            salts = seals.known_salts(conn, sorted({fact.player_id for _, fact in leaves if fact is not None}))
            yield from _changed(seal, leaves, salts)
            previous, expected = seal.head, seal.number + 1
        page = seals.after(conn, page[-1].number, _PAGE)
    for redemption_id, kind in seals.unsealable(conn):
        yield f"redemption {redemption_id}: {_SAID[kind]}, not sealed, and never to be sealed"


_SAID: Final = {"redeemed": "redeemed", "rolled_back": "rolled back"}


def _changed(seal: Seal, leaves: list[tuple[Leaf, Fact | None]], salts: Mapping[str, bytes]) -> Iterator[str]:
    for leaf, fact in leaves:
        if fact is None:
            yield f"redemption {leaf.redemption_id}: was sealed in seal {seal.number} and is gone, or its code is"
            continue
        named = f"redemption {fact.id} (deposit {fact.deposit_id})"
        if fact.leaf(leaf.kind, leaf.player_digest) != leaf.leaf:
            yield f"{named}: is not what was sealed in seal {seal.number} as {_SAID[leaf.kind]}"
        elif leaf.kind == "redeemed" and not _same_player(leaf, fact, salts):
            yield f"{named}: its player is not the one who was sealed in seal {seal.number}"


def _same_player(leaf: Leaf, fact: Fact, salts: Mapping[str, bytes]) -> bool:
    if fact.player_id.startswith(ERASED):
        return True  # whose it was can no longer be told, and so not checked
    salt = salts.get(fact.player_id)
    return salt is not None and sealing.player_digest(salt, fact.player_id) == leaf.player_digest


def head_at(conn: Connection, number: int) -> str | None:
    """The head of a seal; None where there is no such seal."""
    found = seals.after(conn, number - 1, 1)
    return found[0].head if found and found[0].number == number else None
