"""A folder of somebody else's files → a pack of ours.

So far only folders that have a pack.toml already are understood.
"""

import shutil
from pathlib import Path

from models.pack import MANIFEST, Pack, load_pack, verify


def import_pack(source: Path, into: Path, name: str) -> Pack:
    """Make the pack *name* in *into*/*name* from the files in *source*, which stay.

    Raises:
        PackBroken: *source* is no pack, or its files are not those it promises.
    """
    pack = load_pack(source)
    verify(pack)
    target = into / name
    target.mkdir(parents=True)
    for file in (MANIFEST, *pack.checksums()):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file, target / file)
    return load_pack(target)
