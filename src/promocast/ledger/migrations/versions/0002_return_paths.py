"""What is told afterwards: a secret for return paths and links, addresses that moved, players who opted out.

Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ledger", sa.Column("secret", sa.Text(), nullable=False, server_default=""))
    op.add_column("players", sa.Column("opt_outs", sa.Text(), nullable=False, server_default="{}"))
    op.create_table(
        "moved_addresses",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "digest", name=op.f("pk_moved_addresses")),
    )
