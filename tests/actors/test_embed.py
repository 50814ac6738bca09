"""The embedder's way from an original to a tensor, and the device it takes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import models.errors
import runtime.errors
from actors.embed import CPU, Embed, Ready
from actors.messages import EmbedTask
from actors.photo.errors import Unread
from actors.photo.reading import read_photo
from actors.photo.thumbnails import thumbnail_path
from actors.settings import EmbedSettings
from models.image import open_thumbnail, prepare, thumbnail_for
from models.pack import ImageGraph
from runtime.restart import EXIT_STICKY_GPU
from supervisor import PACKS

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


def test_a_gpu_that_is_not_there_is_replaced_by_the_cpu(tmp_path):
    settings = EmbedSettings(str(PACKS / "sketch"), str(tmp_path), [1], "cuda:99")
    tower = Embed(settings)._open("cuda:99")
    assert tower._session.device == CPU


def opened(tmp_path) -> Embed:
    actor = Embed(EmbedSettings(str(PACKS / "sketch"), str(tmp_path), [1]))
    actor._tower = actor._open(CPU)
    actor._warm_up()
    return actor


def full_above(actor, most, monkeypatch):
    """Let batches above *most* not fit; the sizes that are tried."""
    tried = []
    run = actor._tower._session.run

    def watched(feeds, wanted=None):
        rows = len(feeds["pixels"])
        tried.append(rows)
        if rows > most:
            raise models.errors.OutOfMemory(Path("image.onnx"), rows, "CUDA failure 2")
        return run(feeds, wanted)

    monkeypatch.setattr(actor._tower._session, "run", watched)
    return tried


def test_a_batch_that_does_not_fit_is_run_in_smaller_ones_and_costs_no_photo(tmp_path, monkeypatch):
    actor = opened(tmp_path)
    pictures = [np.full((64, 64, 3), 40 + n, np.uint8) for n in range(32)]
    tensor = actor._tower.prepare(pictures)
    tasks = [EmbedTask(n, n, bytes(32), 64, 64) for n in range(32)]
    expected = actor._embed(Ready(tasks, tensor))
    tried = full_above(actor, 8, monkeypatch)
    assert actor._embed(Ready(tasks, tensor)) == expected
    assert tried == [32, 8, 8, 8, 8]
    tried.clear()
    actor._embed(Ready(tasks, tensor))
    assert tried == [8, 8, 8, 8]  # what did not fit once is not tried again


def test_a_device_without_room_for_one_picture_ends_the_process_as_one_without_memory(
    tmp_path, monkeypatch
):
    actor = opened(tmp_path)
    full_above(actor, 0, monkeypatch)
    tensor = actor._tower.prepare([np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(MemoryError, match="no memory for a batch of 1"):
        actor._embed(Ready([EmbedTask(1, 1, bytes(32), 64, 64)], tensor))


def test_a_size_that_does_not_fit_at_the_start_is_left_out(tmp_path, monkeypatch):
    actor = opened(tmp_path)
    full_above(actor, 8, monkeypatch)
    actor._warm_up()
    assert actor._largest == 16
    full_above(actor, 0, monkeypatch)
    with pytest.raises(models.errors.OutOfMemory):
        actor._warm_up()


def test_a_lost_gpu_ends_the_process_with_70(tmp_path, monkeypatch):
    actor = opened(tmp_path)

    def lost(*_, **__):
        raise models.errors.DeviceLost(tmp_path / "image.onnx", "CUDA failure 700")

    tensor = actor._tower.prepare([np.zeros((8, 8, 3), np.uint8)])
    task = EmbedTask(1, 1, bytes(32), 8, 8)
    monkeypatch.setattr(actor._tower, "embed", lost)
    with pytest.raises(runtime.errors.DeviceLost, match="the GPU is lost") as caught:
        actor._embed(Ready([task], tensor))
    assert caught.value.exit_code == EXIT_STICKY_GPU


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
