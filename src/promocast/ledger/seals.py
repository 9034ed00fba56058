"""Seals: batches of redemptions and rollbacks, closed for good. What is hashed, and how, is in sealing.py."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Connection, func, insert, select, text, update

from promocast import sealing
from promocast.errors import LedgerError
from promocast.ledger.engine import insert_new, rows_of
from promocast.ledger.schema import codes, ledger, player_salts, redemptions, seal_leaves, seals
from promocast.model import Instant, RandomBytes

Kind = Literal["redeemed", "rolled_back"]

# What stands in place of an erased player's id begins so.
ERASED: Final = "erased:"


@dataclass(frozen=True, slots=True)
class Fact:
    """A redemption as it stands in the book, with its code's spelling."""

    id: int
    campaign_id: str
    folded: str
    deposit_id: str
    player_id: str
    amount: str
    currency: str
    reward: str | None
    at: Instant
    rolled_back_at: Instant | None

    def leaf(self, kind: Kind, player_digest: str | None) -> str | None:
        """What it seals to; None for the undoing of one that was not undone."""
        if kind == "redeemed":
            return sealing.redeemed(
                self.id,
                campaign_id=self.campaign_id,
                folded=self.folded,
                deposit_id=self.deposit_id,
                amount=self.amount,
                currency=self.currency,
                reward=self.reward,
                at=self.at,
                player_digest=player_digest or "",
            )
        if self.rolled_back_at is None:
            return None
        return sealing.rolled_back(self.id, deposit_id=self.deposit_id, at=self.rolled_back_at)


@dataclass(frozen=True, slots=True)
class Leaf:
    kind: Kind
    redemption_id: int
    player_digest: str | None
    leaf: str


@dataclass(frozen=True, slots=True)
class Seal:
    """A closed batch. `leaves` is their number."""

    number: int
    leaves: int
    head: str
    sealed_at: Instant


_FACT = (
    redemptions.c.id,
    redemptions.c.campaign_id,
    codes.c.folded,
    redemptions.c.deposit_id,
    redemptions.c.player_id,
    redemptions.c.amount,
    redemptions.c.currency,
    redemptions.c.reward,
    redemptions.c.at,
    redemptions.c.rolled_back_at,
)
_OF_CODE = redemptions.join(codes, codes.c.id == redemptions.c.code_id)


def any_open(conn: Connection) -> bool:
    """Whether anything waits to be sealed; asked without writing."""
    return conn.execute(select(redemptions.c.id).where(redemptions.c.due_at.is_not(None)).limit(1)).first() is not None


def hold(conn: Connection) -> str:
    """Hold other sealers off until this transaction ends; the ledger's id."""
    return str(conn.execute(select(ledger.c.ledger_id).with_for_update()).scalar_one())


def take_open(conn: Connection, limit: int) -> list[Fact]:
    """Redemptions of which something is not sealed, oldest first; those that somebody holds are left for later."""
    statement = select(*_FACT).select_from(_OF_CODE).where(redemptions.c.due_at.is_not(None))
    statement = statement.order_by(redemptions.c.due_at, redemptions.c.id).limit(limit)
    found = conn.execute(statement.with_for_update(of=redemptions, skip_locked=True))
    return [Fact(**row._asdict()) for row in found]


def sealed(conn: Connection, redemption_ids: Sequence[int]) -> set[tuple[int, str]]:
    """{(redemption, kind)} of what is sealed of these."""
    c = seal_leaves.c
    found = select(c.redemption_id, c.kind).where(c.redemption_id.in_(redemption_ids))
    return {(row.redemption_id, row.kind) for row in conn.execute(found)}


def salts(conn: Connection, player_ids: Sequence[str], random: RandomBytes) -> dict[str, bytes]:
    """{player: their salt}, drawn for those who have none yet."""
    s = player_salts.c
    new = [(player_id, random(sealing.SALT_BYTES).hex()) for player_id in player_ids]
    insert_new(conn, [s.player_id, s.salt], new, [s.player_id])
    found = select(s.player_id, s.salt).where(s.player_id.in_(player_ids))
    return {row.player_id: bytes.fromhex(row.salt) for row in conn.execute(found)}


def last(conn: Connection) -> Seal | None:
    row = conn.execute(select(seals).order_by(seals.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else Seal(*row)


def record(conn: Connection, seal: Seal, leaves: Sequence[Leaf]) -> None:
    c = seal_leaves.c
    conn.execute(insert(seals).values(number=seal.number, leaves=seal.leaves, head=seal.head, sealed_at=seal.sealed_at))
    rows = [
        (seal.number, place, leaf.kind, leaf.redemption_id, leaf.player_digest, leaf.leaf)
        for place, leaf in enumerate(leaves)
    ]
    recorded = insert_new(conn, [c.seal, c.place, c.kind, c.redemption_id, c.player_digest, c.leaf], rows, [c.place])
    if len(recorded) != len(leaves):
        raise LedgerError(f"Seal {seal.number} holds what another seal has closed.")


def settle(conn: Connection, redemption_ids: Sequence[int]) -> None:
    """Nothing of these redemptions waits to be sealed any more."""
    source, parameters = rows_of(conn, [redemptions.c.id], [(each,) for each in redemption_ids])
    done = f"UPDATE redemptions SET due_at = NULL WHERE id IN (SELECT r.id FROM {source})"  # noqa: S608
    conn.execute(text(done), parameters)


def after(conn: Connection, number: int, limit: int) -> list[Seal]:
    """The seals that follow `number`."""
    statement = select(seals).where(seals.c.number > number).order_by(seals.c.number).limit(limit)
    return [Seal(*row) for row in conn.execute(statement)]


def leaves_of(conn: Connection, number: int) -> list[tuple[Leaf, Fact | None]]:
    """A batch's leaves in their order, each with the redemption that it speaks of, if that is still there."""
    c = seal_leaves.c
    statement = (
        select(
            c.kind, c.redemption_id, c.player_digest, c.leaf, *(column.label(f"f_{column.name}") for column in _FACT)
        )
        .select_from(
            seal_leaves.outerjoin(redemptions, redemptions.c.id == c.redemption_id).outerjoin(
                codes, codes.c.id == redemptions.c.code_id
            )
        )
        .where(c.seal == number)
        .order_by(c.place)
    )
    return [(Leaf(*row[:4]), None if row.f_id is None else Fact(*row[4:])) for row in conn.execute(statement)]


def known_salts(conn: Connection, player_ids: Sequence[str]) -> Mapping[str, bytes]:
    """{player: their salt} of those who have one."""
    s = player_salts.c
    found = select(s.player_id, s.salt).where(s.player_id.in_(player_ids))
    return {row.player_id: bytes.fromhex(row.salt) for row in conn.execute(found)}


def unsealable(conn: Connection) -> Iterator[tuple[int, str]]:
    """(redemption, kind) of what is neither sealed nor waits to be: somebody has hidden it from the sealer."""
    r, c = redemptions.c, seal_leaves.c
    for kind, happened in (("redeemed", r.at.is_not(None)), ("rolled_back", r.rolled_back_at.is_not(None))):
        there = select(c.redemption_id).where(c.redemption_id == r.id, c.kind == kind).exists()
        hidden = select(r.id).where(happened, r.due_at.is_(None), ~there).order_by(r.id)
        yield from ((redemption_id, kind) for redemption_id in conn.execute(hidden).scalars())


def forget(conn: Connection, player_id: str, pseudonym: str) -> int:
    """Put a pseudonym in the place of a player's id and destroy the salt; how many redemptions had it."""
    # The redemptions first: a sealer who holds them draws a salt, which is then there to be destroyed.
    changed = conn.execute(update(redemptions).where(redemptions.c.player_id == player_id).values(player_id=pseudonym))
    conn.execute(player_salts.delete().where(player_salts.c.player_id == player_id))
    return changed.rowcount


def count(conn: Connection) -> tuple[int, int]:
    """(seals, leaves)"""
    row = conn.execute(select(func.count(), func.coalesce(func.sum(seals.c.leaves), 0))).one()
    return row[0], int(row[1])
