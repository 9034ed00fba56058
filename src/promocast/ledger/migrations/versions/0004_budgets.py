"""What is promised and spent, and who guesses.

Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RowId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("redemptions", sa.Column("reward_units", sa.BigInteger(), nullable=True))
    op.create_table(
        "budgets",
        sa.Column("campaign_id", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("spent >= 0", name=op.f("ck_budgets_spent")),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_budgets_campaign_id")),
        sa.PrimaryKeyConstraint("campaign_id", "currency", name=op.f("pk_budgets")),
    )
    op.create_table(
        "guesses",
        sa.Column("id", RowId, nullable=False),
        sa.Column("player_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("deposit_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_guesses")),
        sa.UniqueConstraint("deposit_id", name=op.f("uq_guesses_deposit_id")),
    )
    op.create_index("ix_guesses_player_id_at", "guesses", ["player_id", "at"])
