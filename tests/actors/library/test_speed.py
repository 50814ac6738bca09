"""What a row costs at the batch that callers use; printed (`pytest -s`), and bounded far off."""

import sys
import time
from collections import defaultdict

import pytest

from actors.messages import SeenFile
from tests.actors.library.catalogs import ROOT, Catalog, decoded, digest_of, embedded

pytestmark = pytest.mark.anyio

FILES = 10_000
BATCH = 256
#: Microseconds a row.  A hundred are meant; a plan that walks a table would be far beyond this.
LIMIT = 2_000


async def test_ten_thousand_photos_go_through_at_about_100_microseconds_a_row(catalog: Catalog):
    spent: defaultdict[str, float] = defaultdict(float)

    async def timed(what, verb):
        begun = time.perf_counter()
        result = await verb
        spent[what] += time.perf_counter() - begun
        return result

    files = [SeenFile(b"%d" % (i // 300), b"%d.jpg" % i, i, i, i) for i in range(FILES)]
    batches = [files[start : start + BATCH] for start in range(0, FILES, BATCH)]
    for what in ("seen, new", "seen, known"):
        for batch in batches:
            await timed(what, catalog.writer.seen(ROOT, batch, 0, catalog.now))
    while tasks := await timed("lease decode", catalog.decodes(n=BATCH)):
        results = [decoded(task, digest_of(task.path)) for task in tasks]
        await timed("settle decoded", catalog.settle(*results))
    while embeds := await timed("lease embed", catalog.embeds(n=BATCH)):
        await timed("settle embedded", catalog.settle(*[embedded(task) for task in embeds]))

    async def walk():
        return [len(known) async for _, known in catalog.reader.known(ROOT)]

    assert sum(await timed("known", walk())) == FILES
    assert (await catalog.totals()).indexed == FILES
    for what, seconds in spent.items():
        sys.stdout.write(f"{what:16}{seconds / FILES * 1e6:8.1f} us a row\n")
    assert max(spent.values()) / FILES * 1e6 < LIMIT
