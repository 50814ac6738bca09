"""An export that becomes a pack once it was compared with what it came from, and not before.

It is laid out as a folder that somebody might have published and imported like any other, beside
its place; only the pack that was found to compute the same is moved there.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from models.importing import import_pack
from models.pack import Pack, Precision

T = TypeVar("T")


def proved_pack(
    write: Callable[[Path], None],
    prove: Callable[[Pack], T],
    into: Path,
    name: str,
    *,
    precision: Precision,
    licence: str,
    summary: str,
) -> tuple[Pack, T]:
    """Import what *write* leaves in a folder as the pack `<into>/<name>`; and what *prove* said.

    *prove* may add to the manifest of the pack that it is given.

    Raises:
        ModelBroken: *prove* refuses it.
        PackBroken: as `import_pack`.
    """
    into.mkdir(parents=True, exist_ok=True)
    # A name that the next import removes, should this process be killed.
    left = f".{os.getpid()}.partial"
    with tempfile.TemporaryDirectory(dir=into, prefix=".export-", suffix=left) as scratch:
        folder = Path(scratch, name)
        folder.mkdir()
        write(folder)
        packs = Path(scratch, "packs")
        pack = import_pack(
            folder, packs, name, precision=precision, licence=licence, summary=summary
        )
        said = prove(pack)
        return import_pack(pack.directory, into, name), said
