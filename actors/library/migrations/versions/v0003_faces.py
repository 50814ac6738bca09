"""Faces: spaces of another kind, and what was found where."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("spaces", sa.Column("kind", sa.Text, nullable=False, server_default="embed"))
    op.add_column("vectors", sa.Column("faces", sa.Integer))
    counted = sa.text("faces IS NOT NULL")
    op.create_index(
        "vectors_faces",
        "vectors",
        ["space", "faces", "content"],
        sqlite_where=counted,
        postgresql_where=counted,
    )
    op.create_table(
        "faces",
        sa.Column("content", ID, nullable=False, autoincrement=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("space", ID, nullable=False, autoincrement=False),
        *(
            sa.Column(name, sa.Float, nullable=False)
            for name in ("left", "top", "right", "bottom", "score")
        ),
        sa.Column("landmarks", sa.LargeBinary, nullable=False),
        *(
            sa.Column(name, sa.Float, nullable=False)
            for name in ("size", "sharpness", "yaw", "roll")
        ),
        sa.PrimaryKeyConstraint("content", "number", "space", name="faces_pkey"),
        sa.ForeignKeyConstraint(["content"], ["contents.id"], name="faces_content_fkey"),
        sa.ForeignKeyConstraint(["space"], ["spaces.id"], name="faces_space_fkey"),
    )


def downgrade() -> None:
    op.drop_table("faces")
    op.drop_index("vectors_faces", "vectors")
    # Not by a copy of the table, which would lose its checks.
    op.execute("ALTER TABLE vectors DROP COLUMN faces")
    op.execute("ALTER TABLE spaces DROP COLUMN kind")
