"""What the first bytes of a database file say of its length.

SQLite meets a lost end only when it reads a page from it, which can be weeks later.  The file
says how many pages it has (https://www.sqlite.org/fileformat2.html#in_header_database_size), and
that can be compared before anything is written.  Not while a journal waits beside it: a
checkpoint that was interrupted wrote the first page and not yet the last, and is finished from
the journal by whoever opens it.
"""

import time
from pathlib import Path
from typing import Final

from actors.library.errors import REMEDY, CatalogCorrupt

_HEADER: Final = 100  # bytes
_CHECKPOINT_S: Final = 0.1


def refuse_cut_off(database: Path) -> None:
    """Pass where *database* is as long as it says, or cannot tell.

    Raises:
        CatalogCorrupt: its end is missing.
    """
    missing = _missing(database)
    if missing:
        # a writer may have been in the middle of a checkpoint, and be done with it now
        time.sleep(_CHECKPOINT_S)
        missing = _missing(database)
    if missing:
        raise CatalogCorrupt(f"catalog {database} is damaged (cut off: {missing}); {REMEDY}")


def _missing(database: Path) -> str:
    """How much of how much is there; "" where that is all."""
    journal = database.with_name(f"{database.name}-wal")
    try:
        if journal.exists() and journal.stat().st_size:
            return ""
        with database.open("rb") as file:
            header = file.read(_HEADER)
        size = database.stat().st_size
    except OSError:
        return ""  # whoever opens it will tell
    pages = int.from_bytes(header[28:32], "big")
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 1 << 16 if page_size == 1 else page_size
    # the number of pages holds only where the version it was written with is the file's own
    if len(header) < _HEADER or header[24:28] != header[92:96] or size >= pages * page_size:
        return ""
    return f"{size:,} of {pages * page_size:,} bytes"
