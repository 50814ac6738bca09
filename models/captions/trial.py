"""What a published captioner needs, read from its graphs and a first try."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec

from models.captions.captioner import Captioner
from models.captions.published import Telling
from models.graphfile import GraphFile
from models.memory import measured
from models.pack import Caption, CaptionGraph, Manifest, pack_of
from models.probing import mib

#: Batch sizes.  What a decoder asks of a picture is tens of megabytes, so there is no larger one.
BUCKETS = (1, 4, 8)


def caption_section(
    source: Path,
    telling: Telling,
    graphs: Mapping[str, GraphFile],
    sums: Mapping[str, str],
    *,
    space: str,
) -> Caption:
    """The captioner in *source* as the manifest will tell it.

    *graphs* and *sums* are by file below *source*; *sums* has the vocabulary's, too.

    Raises:
        ModelBroken, PackBroken: the graphs do not fit together, or write nothing.
    """
    eyes = telling.eyes
    files = telling.graphs
    elements: Counter[int] = Counter()
    for file in files.values():
        elements.update(graphs[file].elements)
    told = Caption(
        kind=telling.kind,
        space=space,
        precision=GraphFile({}, dict(elements)).precision,
        graphs={name: CaptionGraph(file, sums[file]) for name, file in files.items()},
        buckets=BUCKETS,
        size=eyes.size,
        resize=eyes.resize,
        resample=eyes.resample,
        mean=eyes.mean,
        std=eyes.std,
        colour=eyes.colour,
        preprocess="1",
        tokenizer=telling.tokenizer,
        tokenizer_sha256=sums[telling.tokenizer],
        vocabulary=telling.vocabulary,
        begin=telling.begin,
        stop=telling.stop,
        pad=telling.pad,
        longest=telling.longest,
        shortest=telling.shortest,
        beams=telling.beams,
        no_repeat=telling.no_repeat,
        prompt=telling.prompt,
    )
    with measured() as peak:
        Captioner.open(pack_of(Manifest("trial", "", "", "", caption=told), source)).warm_up()
    least = sum(mib(source / file, graphs[file]) for file in files.values())
    return msgspec.structs.replace(told, memory_mib=max(peak.mib, least))
