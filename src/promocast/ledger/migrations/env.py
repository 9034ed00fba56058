"""Alembic's entry: runs inside the transaction that promocast.ledger.migrate has open."""

from alembic import context

from promocast.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
