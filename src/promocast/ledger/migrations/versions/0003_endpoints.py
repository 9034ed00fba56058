"""Endpoints: since when one fails, and that it was disabled.

Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("failing_since", "failed_at", "disabled_at"):
        op.add_column("channels", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("channels", sa.Column("target", sa.Text(), nullable=True))
