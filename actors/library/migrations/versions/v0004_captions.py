"""Captions, and an index of their words."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# The index keeps no text of its own and is told of every change by the table itself, so that
# whoever deletes a caption, for whatever reason, cannot forget its words.
WORDS = (
    """CREATE VIRTUAL TABLE caption_words USING fts5(
        text, content='captions', content_rowid='id',
        tokenize='porter unicode61 remove_diacritics 2'
    )""",
    """CREATE TRIGGER captions_insert AFTER INSERT ON captions BEGIN
        INSERT INTO caption_words(rowid, text) VALUES (new.id, new.text);
    END""",
    """CREATE TRIGGER captions_delete AFTER DELETE ON captions BEGIN
        INSERT INTO caption_words(caption_words, rowid, text) VALUES ('delete', old.id, old.text);
    END""",
    """CREATE TRIGGER captions_update AFTER UPDATE ON captions BEGIN
        INSERT INTO caption_words(caption_words, rowid, text) VALUES ('delete', old.id, old.text);
        INSERT INTO caption_words(rowid, text) VALUES (new.id, new.text);
    END""",
)


def upgrade() -> None:
    op.create_table(
        "captions",
        sa.Column("id", ID, nullable=False),
        sa.Column("content", ID, nullable=False),
        sa.Column("space", ID, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="captions_pkey"),
        sa.UniqueConstraint("content", "space", name="captions_content_space_key"),
        sa.ForeignKeyConstraint(["content"], ["contents.id"], name="captions_content_fkey"),
        sa.ForeignKeyConstraint(["space"], ["spaces.id"], name="captions_space_fkey"),
    )
    # Full-text search is spelt differently by every database; this one is the only one yet.
    if op.get_bind().dialect.name == "sqlite":
        for statement in WORDS:
            op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE caption_words")
    op.drop_table("captions")  # and its triggers
