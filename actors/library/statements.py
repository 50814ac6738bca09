"""Pieces that statements of both halves, reading and writing, are made of."""

from typing import Any, Final

from sqlalchemy import Row, bindparam
from sqlalchemy.sql.elements import BindParameter

#: A row of any statement.
Record = Row[*tuple[Any, ...]]

#: Values given to one `IN`.  SQLite takes 32,766 parameters a statement, asyncpg 32,767; beyond
#: some thousands an `IN` gets no cheaper by the row.
SLICE: Final = 4096


def values(name: str = "values") -> BindParameter[Any]:
    """The right side of an `IN` whose list is given with each execution."""
    return bindparam(name, expanding=True)
