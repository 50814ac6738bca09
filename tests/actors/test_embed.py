"""The embedder's way from an original to a tensor, and from there to vectors."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from actors.embed import Embed
from actors.fitted import CPU, Fitted
from actors.messages import Embedded, EmbedTask
from actors.photo.errors import Unread
from actors.photo.reading import read_photo
from actors.photo.thumbnails import thumbnail_path
from actors.settings import EmbedSettings
from actors.worker import Ready
from models.image import open_thumbnail, prepare, thumbnail_for
from models.pack import BUILT_IN, ImageGraph, load_pack

SIZE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
CLIP = ImageGraph(
    file="image.onnx",
    sha256="0" * 64,
    precision="fp32",
    memory_mib=1,
    buckets=(1,),
    size=SIZE,
    resize="shortest",
    resample="bicubic",
    mean=MEAN,
    std=STD,
    colour="RGB",
    layout="NCHW",
    preprocess="1",
    input="pixels",
    output="embedding",
    normalised=True,
)


def test_each_picture_of_a_batch_has_its_own_vector_of_the_space_it_is_for(tmp_path):
    embed = Embed(EmbedSettings(str(BUILT_IN / "sketch"), str(tmp_path), [1]))
    fitted = Fitted.open(load_pack(BUILT_IN / "sketch"), CPU, 1)
    tensor = fitted.tower.prepare([np.full((64, 64, 3), 90 * n, np.uint8) for n in range(3)])
    tasks = [EmbedTask(n, 10 + n, bytes(32), 64, 64) for n in range(3)]
    vectors, _ = fitted.embed(tensor)
    assert embed.compute(Ready(tasks, tensor, fitted)) == [
        Embedded(n, 10 + n, "sketch-1", row.tobytes()) for n, row in enumerate(vectors)
    ]


def reference(image: Image.Image) -> np.ndarray:
    """torchvision's Resize and CenterCrop behind CLIP, written out."""
    width, height = image.size
    other = int(SIZE * max(image.size) / min(image.size))
    wide, high = (SIZE, other) if width <= height else (other, SIZE)
    left, top = round((wide - SIZE) / 2), round((high - SIZE) / 2)
    middle = image.resize((wide, high), Image.Resampling.BICUBIC).crop(
        (left, top, left + SIZE, top + SIZE)
    )
    tensor: np.ndarray = (np.asarray(middle) / 255 - MEAN) / STD
    return tensor.transpose(2, 0, 1)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def through_thumbnail(path: Path, derived: Path, size: tuple[int, int]) -> np.ndarray | None:
    """The tensor as the embedder makes it; None where the decoder refuses or sees otherwise."""
    try:
        photo = read_photo(str(path), derived)
    except Unread:
        return None
    upright = (photo.facts.width, photo.facts.height)
    if upright != size or photo.facts.damaged:
        return None
    side = thumbnail_for(SIZE, *upright)
    thumbnail = open_thumbnail(thumbnail_path(derived, photo.digest, side), SIZE)
    tensor: np.ndarray = prepare([thumbnail], CLIP, originals=[upright])[0]
    return tensor


@pytest.mark.corpus
@pytest.mark.filterwarnings("ignore")  # Pillow's, about odd photos
def test_every_photo_becomes_the_tensor_of_the_reference(corpus, tmp_path):
    straight: dict[str, float] = {}
    through: list[float] = []
    for path in sorted(each for each in corpus.rglob("*") if each.is_file()):
        if path.relative_to(corpus).parts[0] in {"LICENSES", "onnx", "tokenizer", "video"}:
            continue
        try:
            with Image.open(path) as image:
                image.load()
                upright = ImageOps.exif_transpose(image).convert("RGB")
        except Exception:  # what cannot be read is the business of other tests
            continue
        expected = reference(upright)
        straight[str(path)] = cosine(prepare([upright], CLIP)[0], expected)
        if min(upright.size) >= 600:
            tensor = through_thumbnail(path, tmp_path, upright.size)
            through += [] if tensor is None else [cosine(tensor, expected)]
    assert len(straight) > 300
    assert {path: each for path, each in straight.items() if each < 0.9999} == {}
    assert len(through) > 50
    assert np.median(through) >= 0.9995
    assert np.percentile(through, 5) >= 0.995
