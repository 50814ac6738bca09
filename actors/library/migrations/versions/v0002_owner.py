"""What the owner decides: to pause, and to have photos forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("library", sa.Column("paused_ns", sa.BigInteger))
    op.create_table(
        "forgotten",
        sa.Column("place", sa.LargeBinary(32), nullable=False),
        sa.Column("state", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("place", name="forgotten_pkey"),
    )


def downgrade() -> None:
    op.drop_table("forgotten")
    # Not by a copy of the table, which would lose its check.
    op.execute("ALTER TABLE library DROP COLUMN paused_ns")
