"""Campaigns that are paused, requests that are cancelled or held, pools, and who did what by hand.

Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("paused_at", sa.BigInteger(), nullable=True))
    for name in ("cancelled_at", "held_at", "confirmed_at"):
        op.add_column("requests", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("requests", sa.Column("accepted", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_requests_campaign_id_id", "requests", ["campaign_id", "id"])
    op.create_index(
        "ix_requests_cancelled_at",
        "requests",
        ["cancelled_at"],
        sqlite_where=sa.text("cancelled_at IS NOT NULL"),
        postgresql_where=sa.text("cancelled_at IS NOT NULL"),
    )
    op.add_column("events", sa.Column("by", sa.Text(), nullable=True))
    op.create_index(
        "ix_events_by",
        "events",
        ["tx", "id"],
        sqlite_where=sa.text("by IS NOT NULL"),
        postgresql_where=sa.text("by IS NOT NULL"),
    )
    op.create_table(
        "issue_counts",
        sa.Column("campaign_id", sa.Text(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_issue_counts_campaign_id")),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("pk_issue_counts")),
    )
    op.create_table(
        "pool_codes",
        sa.Column("id", RowId, nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.BigInteger(), nullable=False),
        sa.Column("given_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pool_codes")),
        sa.UniqueConstraint("folded", name=op.f("uq_pool_codes_folded")),
    )
    op.create_index(
        "ix_pool_codes_pool_id",
        "pool_codes",
        ["pool", "id"],
        sqlite_where=sa.text("given_at IS NULL"),
        postgresql_where=sa.text("given_at IS NULL"),
    )
    op.create_table(
        "pools",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("remaining >= 0", name=op.f("ck_pools_remaining")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pools")),
    )
