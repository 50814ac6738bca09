"""Alembic's scripts; `actors.library.migration` runs them."""
