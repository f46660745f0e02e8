"""Alembic's entry: runs the migrations on the connection that `migrations.upgrade` hands in."""

from alembic import context

from algorium_server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters tables by copying them.
    render_as_batch=True,
)
context.run_migrations()
