"""The first catalog: files, contents, vectors, the queue and the feed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _only(where: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(where), "postgresql_where": sa.text(where)}


def upgrade() -> None:
    op.create_table(
        "library",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("uuid", sa.Text, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="library_pkey"),
        sa.CheckConstraint("id = 1", name=op.f("library_single_check")),
    )
    op.create_table(
        "roots",
        sa.Column("id", ID, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="roots_pkey"),
        sa.UniqueConstraint("path", name="roots_path_key"),
    )
    op.create_table(
        "directories",
        sa.Column("id", ID, nullable=False),
        sa.Column("root", ID, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="directories_pkey"),
        sa.ForeignKeyConstraint(["root"], ["roots.id"], name="directories_root_fkey"),
        sa.UniqueConstraint("root", "path", name="directories_root_path_key"),
    )
    op.create_table(
        "contents",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("format", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("orientation", sa.Integer, nullable=False),
        sa.Column("taken_at", sa.Text),
        sa.Column("taken_offset", sa.Integer),
        sa.Column("make", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("latitude", sa.Float),
        sa.Column("longitude", sa.Float),
        sa.Column("altitude", sa.Float),
        sa.Column("damaged", sa.Boolean, nullable=False),
        sa.Column("thumb_256", sa.BigInteger, nullable=False),
        sa.Column("thumb_1024", sa.BigInteger, nullable=False),
        sa.Column("added_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="contents_pkey"),
        sa.UniqueConstraint("digest", name="contents_digest_key"),
    )
    op.create_table(
        "files",
        sa.Column("id", ID, nullable=False),
        sa.Column("directory", ID, nullable=False),
        sa.Column("name", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("ctime_ns", sa.BigInteger, nullable=False),
        sa.Column("content", ID),
        sa.Column("skip_reason", sa.Text),
        sa.Column("missing_since_ns", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="files_pkey"),
        sa.ForeignKeyConstraint(["directory"], ["directories.id"], name="files_directory_fkey"),
        sa.ForeignKeyConstraint(["content"], ["contents.id"], name="files_content_fkey"),
        sa.UniqueConstraint("directory", "name", name="files_directory_name_key"),
    )
    op.create_table(
        "spaces",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("pack", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("preprocess", sa.Text, nullable=False),
        sa.Column("precision", sa.Text, nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("backfill_below", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="spaces_pkey"),
        sa.UniqueConstraint("name", name="spaces_name_key"),
    )
    op.create_table(
        "vectors",
        sa.Column("content", ID, autoincrement=False, nullable=False),
        sa.Column("space", ID, autoincrement=False, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("content", "space", name="vectors_pkey"),
        sa.ForeignKeyConstraint(["content"], ["contents.id"], name="vectors_content_fkey"),
        sa.ForeignKeyConstraint(["space"], ["spaces.id"], name="vectors_space_fkey"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("file", ID),
        sa.Column("content", ID),
        sa.Column("space", ID),
        sa.Column("size", sa.BigInteger),
        sa.Column("mtime_ns", sa.BigInteger),
        sa.Column("ctime_ns", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crash_attempts", sa.Integer, nullable=False),
        sa.Column("suspect", sa.Boolean, nullable=False),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_epoch", sa.BigInteger),
        sa.Column("executing_run", sa.Text),
        sa.Column("not_before_ns", sa.BigInteger, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("exit_reason", sa.Text),
        sa.Column("stderr_tail", sa.Text),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="tasks_pkey"),
        sa.ForeignKeyConstraint(["file"], ["files.id"], name="tasks_file_fkey"),
        sa.ForeignKeyConstraint(["content"], ["contents.id"], name="tasks_content_fkey"),
        sa.ForeignKeyConstraint(["space"], ["spaces.id"], name="tasks_space_fkey"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "feed",
        sa.Column("seq", ID, nullable=False),
        sa.Column("op", sa.Text, nullable=False),
        sa.Column("space", ID, nullable=False),
        sa.Column("content", ID, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="feed_pkey"),
        sa.ForeignKeyConstraint(["space"], ["spaces.id"], name="feed_space_fkey"),
        sa.ForeignKeyConstraint(["content"], ["contents.id"], name="feed_content_fkey"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "counters",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "state", name="counters_pkey"),
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("when_ns", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="audit_pkey"),
    )
    has_content = _only("content IS NOT NULL")
    op.create_index("files_of_content", "files", ["content", "missing_since_ns"], **has_content)
    op.create_index("tasks_of_file", "tasks", ["file"], unique=True, **_only("file IS NOT NULL"))
    op.create_index(
        "tasks_of_content", "tasks", ["content", "kind", "space"], unique=True, **has_content
    )
    op.create_index(
        "tasks_ready",
        "tasks",
        ["kind", "suspect", sa.text("priority DESC"), "id", "not_before_ns", "space", "state"],
        **_only("state = 'ready'"),
    )
    op.create_index(
        "tasks_executing", "tasks", ["executing_run"], **_only("executing_run IS NOT NULL")
    )
    for state in ("leased", "dead", "dropped"):
        op.create_index(f"tasks_{state}", "tasks", ["kind"], **_only(f"state = '{state}'"))


def downgrade() -> None:
    # In the reverse order of their references; the indexes go with their tables.
    for name in (
        "audit",
        "counters",
        "feed",
        "tasks",
        "vectors",
        "spaces",
        "files",
        "contents",
        "directories",
        "roots",
        "library",
    ):
        op.drop_table(name)
