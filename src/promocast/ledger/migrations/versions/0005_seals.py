"""Sealed batches of redemptions, and client actions that come before their code.

Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("redemptions", sa.Column("due_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE redemptions SET due_at = at")
    # A second copy of what is personal, which nothing reads once the codes are there.
    op.execute("UPDATE request_parts SET recipients = NULL WHERE issued_at IS NOT NULL")
    op.create_index(
        "ix_redemptions_due_at",
        "redemptions",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_table(
        "seals",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leaves", sa.Integer(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_seals")),
    )
    op.create_table(
        "seal_leaves",
        sa.Column("seal", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("redemption_id", RowId, nullable=False),
        sa.Column("player_digest", sa.Text(), nullable=True),
        sa.Column("leaf", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('redeemed', 'rolled_back')", name=op.f("ck_seal_leaves_kind")),
        sa.ForeignKeyConstraint(["seal"], ["seals.number"], name=op.f("fk_seal_leaves_seal")),
        sa.PrimaryKeyConstraint("seal", "place", name=op.f("pk_seal_leaves")),
        sa.UniqueConstraint("redemption_id", "kind", name=op.f("uq_seal_leaves_redemption_id_kind")),
    )
    op.create_table(
        "player_salts",
        sa.Column("player_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("player_id", name=op.f("pk_player_salts")),
    )
    op.create_table(
        "early_actions",
        sa.Column("eid", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("player_id", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("eid", name=op.f("pk_early_actions")),
    )
    op.create_index("ix_early_actions_folded", "early_actions", ["folded"])
    op.create_index("ix_early_actions_due_at", "early_actions", ["due_at"])
