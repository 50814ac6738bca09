"""Read by Alembic, never imported: connects its scripts with the connection it was given."""

from alembic import context

from actors.library.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can alter little: tables are copied, inside the caller's transaction.
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
