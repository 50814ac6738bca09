"""models: CLIP, YuNet and ArcFace as we run them, beside bare onnxruntime; memory; layouts.

Random weights of the true sizes: the arithmetic is that of the real ones, what it finds is not.

    ratio     our tower, from tensor to unit vectors, over `InferenceSession.run` in a loop, at the
              same batch and threads; they take turns, and the ratio is the median over the rounds
    int8      the same tower with 8-bit matrices, over float32
    yunet     one look from tensor to boxes, over a plain loop of the same: run, read, suppress; and
              over the run alone, which gives no boxes
    arcface   an IResNet-50 from crops to unit vectors, over the run alone
    blip      a captioner of BLIP-base from tensor to sentences, over a plain greedy loop of the
              same two graphs; tokens a second of both halves together; 8 bits over float32; and
              seconds a photo, read and resized too, on two threads
    peaks     resident memory a graph adds to a fresh process, loaded and run at one batch
    layouts   the same model in the three layouts, imported; smallest cosine between their vectors;
              then a real system indexes photos with the imported pack and searches

The last, and YuNet, need the folder of real photos beside the checkout, for its model, CLIP's
vocabulary and the photos, and are left out without it.
"""

import itertools
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

from bench.blip import BEGIN, blip_pack, write_blip
from bench.iresnet import iresnet50
from bench.system import ROOT, index_once, running
from bench.towers import B32, image_tower, save, text_tower, write_immich, write_optimum
from config.machine import inference_threads
from models.captions.captioner import Captioner
from models.clip import ImageTower, TextTower
from models.configs import CLIP_MEAN, CLIP_STD
from models.export.precision import reduce
from models.faces.detector import FaceDetector
from models.faces.letterbox import letterbox
from models.faces.recogniser import FaceRecogniser
from models.faces.yunet import OVERLAP, THRESHOLD
from models.importing import import_pack
from models.memory import measured
from models.pack import Embed, ImageGraph, Manifest, Pack, Precision, TextGraph, pack_of
from models.session import Session

BATCH = 8
BATCHES = (1, 8, 32)
#: in one batch of the recogniser, a bucket of its pack
FACES = 4
#: of the detector on one photo, one after the other
LOOKS = 8
#: photos told at a time, ids of a caption, and rounds, in each of which it takes seconds
TOLD, TOKENS, TELLINGS = 2, 12, 5
#: of one batch each way; few and short, so that a disturbance meets both
ROUNDS = 21
UNKNOWN = "0" * 64
CORPUS = ROOT.parent / "shared" / "corpus"
VOCABULARY = CORPUS / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"
YUNET = CORPUS / "onnx" / "libfacedetection.train" / "yunet_s_640_640.onnx"
PORTRAIT = CORPUS / "faces" / "face_recognition" / "obama.jpg"
QUERIES = ("a dog on a beach", "two people", "猫", "an old photo of a town")


def main(*, n: int = 24, seed: int = 1) -> dict[str, Any]:
    """Figures, with *n* photos to index."""
    threads = inference_threads()
    figures: dict[str, Any] = {"threads": threads, "batch": BATCH, "rounds": ROUNDS, "seed": seed}
    with tempfile.TemporaryDirectory(prefix="obscura-models-") as scratch:
        home = Path(scratch)
        save(image_tower(B32, seed=seed), home / "image.fp32.onnx")
        save(text_tower(B32, seed=seed), home / "text.fp32.onnx")
        for name in ("image", "text"):
            reduce(home / f"{name}.fp32.onnx", home / f"{name}.int8.onnx", "int8")
        figures |= speed(home, seed, threads)
        figures |= recognising(home, seed, threads)
        figures |= telling(home / "blip", threads)
        figures["peak_mib"] = {path.stem: peaks(path) for path in sorted(home.glob("*.onnx"))}
    if VOCABULARY.exists():
        figures |= detecting(threads)
        with tempfile.TemporaryDirectory(prefix="obscura-layouts-") as scratch:
            figures |= layouts(Path(scratch), n)
    return figures


# ── speed ───────────────────────────────────────────────────────────────────────────────────


def speed(home: Path, seed: int, threads: int) -> dict[str, float]:
    """Ratios, and pictures a second."""
    exact, small = (
        ImageTower.open(pack(home, precision), threads=threads) for precision in ("fp32", "int8")
    )
    random = np.random.default_rng(seed)
    pictures = [random.integers(0, 256, (256, 300, 3), np.uint8) for _ in range(BATCH)]
    tensor = exact.prepare(pictures)
    bare = bare_session(home / "image.fp32.onnx", threads)
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: bare.run(None, {"image": tensor}),
        "tower": lambda: exact.embed(tensor),
        "int8": lambda: small.embed(tensor),
    }
    rounds = take_turns(ways, BATCH)
    cosine = float((exact.embed(tensor) * small.embed(tensor)).sum(axis=1).min())
    best = {name: min(each[name] for each in rounds) for name in ways}
    return {
        "clip_vit_b32_ratio": ratio(rounds, "bare", "tower"),
        "clip_vit_b32_int8_speedup": ratio(rounds, "tower", "int8"),
        "clip_vit_b32_int8_cosine": round(cosine, 5),
        "clip_vit_b32_ms": round(1000 * best["tower"], 1),
        "clip_vit_b32_int8_ms": round(1000 * best["int8"], 1),
    }


def recognising(home: Path, seed: int, threads: int) -> dict[str, float]:
    """Crops to vectors through an IResNet-50."""
    folder = home / "arcface"
    save(iresnet50(seed), folder / "iresnet50.onnx")
    recogniser = FaceRecogniser.open(import_pack(folder, home / "packs"), threads=threads)
    bare = bare_session(folder / "iresnet50.onnx", threads)
    faces = np.random.default_rng(seed).integers(0, 256, (FACES, 112, 112, 3), np.uint8)
    given = np.ascontiguousarray(((faces / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2), np.float32)
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: bare.run(None, {"face": given}),
        "recogniser": lambda: recogniser.embed(faces),
    }
    rounds = take_turns(ways, FACES)
    return {
        "arcface_ratio": ratio(rounds, "bare", "recogniser"),
        "arcface_ms": round(1000 * min(each["recogniser"] for each in rounds), 1),
    }


def telling(home: Path, threads: int) -> dict[str, float]:
    """BLIP-base from tensors to captions; all of them of the same length."""
    write_blip(home)
    for name in ("encoder", "decoder"):
        reduce(home / f"{name}.fp32.onnx", home / f"{name}.int8.onnx", "int8")
    buckets = (1, TOLD)
    whole = blip_pack(home, "fp32", tokens=TOKENS, buckets=buckets)
    short = blip_pack(home, "int8", tokens=TOKENS, buckets=buckets)
    exact = Captioner.open(whole, threads=threads)
    small, double = (Captioner.open(short, threads=count) for count in (threads, 2))
    encoder, decoder = (
        bare_session(home / f"{name}.fp32.onnx", threads) for name in ("encoder", "decoder")
    )
    random = np.random.default_rng(3)
    pictures = [random.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(TOLD)]
    tensor = exact.prepare(pictures)
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: plain_captions(encoder, decoder, tensor),
        "captioner": lambda: exact.caption(tensor),
        "int8": lambda: small.caption(tensor),
    }
    rounds = take_turns(ways, TOLD, TELLINGS)
    photos = take_turns(
        {"photo": lambda: double.caption(double.prepare(pictures[:1]))}, 1, TELLINGS
    )
    seconds = min(each["captioner"] for each in rounds)
    return {
        "blip_base_ratio": ratio(rounds, "bare", "captioner"),
        "blip_tokens_per_s": round(TOKENS / seconds, 1),
        "blip_s_per_photo": round(seconds, 3),
        "blip_int8_speedup": ratio(rounds, "captioner", "int8"),
        "blip_int8_s_per_photo": round(min(each["photo"] for each in photos), 3),
    }


def plain_captions(encoder: Any, decoder: Any, tensor: Any) -> Any:
    """Ids [n, TOKENS] of *tensor*, greedily, as one would write it down."""
    told = encoder.run(None, {"pixel_values": tensor})
    cross = dict(zip((port.name for port in encoder.get_outputs()), told, strict=True))
    names = [port.name for port in decoder.get_inputs() if port.name.startswith("past.")]
    empty = np.zeros((len(tensor), 12, 0, 64), np.float32)
    past = dict.fromkeys(names, empty)
    ids = np.full((len(tensor), 1), BEGIN)
    written = []
    for length in range(TOKENS):
        logits, *present = decoder.run(
            None, {"input_ids": ids, "past_len": np.array(length), **past, **cross}
        )
        past = dict(zip(names, present, strict=True))
        ids = logits.argmax(axis=1)[:, None]
        written.append(ids)
    return np.concatenate(written, axis=1)


def detecting(threads: int) -> dict[str, float]:
    """One look of YuNet at a real photo; and the whole way from that photo, for the record."""
    with tempfile.TemporaryDirectory(prefix="obscura-yunet-") as scratch:
        folder = Path(scratch) / "yunet"
        folder.mkdir()
        shutil.copyfile(YUNET, folder / YUNET.name)
        pack = import_pack(folder, Path(scratch) / "packs")
        detector = FaceDetector.open(pack, threads=threads)
        bare = bare_session(folder / YUNET.name, threads)
        with Image.open(PORTRAIT) as image:
            picture = np.asarray(image.convert("RGB"))
        size = pack.require_detect().size
        name = pack.require_detect().input
        feed = detector.prepare(letterbox(picture, size, size))
        ways: dict[str, Callable[[], object]] = {
            "bare": lambda: [bare.run(None, {name: feed}) for _ in range(LOOKS)],
            "plain": lambda: [plain_look(bare, name, feed) for _ in range(LOOKS)],
            "look": lambda: [detector.propose(feed) for _ in range(LOOKS)],
            "detect": lambda: [detector.detect(picture) for _ in range(LOOKS)],
        }
        rounds = take_turns(ways, LOOKS)
    return {
        "yunet_ratio": ratio(rounds, "plain", "look"),
        "yunet_run_ratio": ratio(rounds, "bare", "look"),
        "yunet_detect_ms": round(1000 * min(each["detect"] for each in rounds), 1),
    }


def plain_look(bare: Any, name: str, feed: Any) -> list[Any]:
    """A bare run and what has to follow for boxes to come of it, as one would write it down."""
    said = dict(
        zip((port.name for port in bare.get_outputs()), bare.run(None, {name: feed}), strict=True)
    )
    rows = []
    for stride in (8, 16, 32):
        score = np.sqrt(said[f"cls_{stride}"][0, :, 0] * said[f"obj_{stride}"][0, :, 0])
        cells = np.stack(np.divmod(np.arange(len(score)), feed.shape[3] // stride)[::-1], axis=1)
        box = said[f"bbox_{stride}"][0]
        middle, half = (cells + box[:, :2]) * stride, np.exp(box[:, 2:]) * stride / 2
        points = (said[f"kps_{stride}"][0].reshape(-1, 5, 2) + cells[:, None]) * stride
        whole = (score[:, None], middle - half, middle + half, points.reshape(-1, 10))
        rows.append(np.concatenate(whole, axis=1)[score > THRESHOLD])
    left = sorted(np.concatenate(rows).tolist(), reverse=True)
    faces: list[Any] = []
    for face in left:
        if all(_shared(face[1:5], other[1:5]) <= OVERLAP for other in faces):
            faces.append(face)
    return faces


def _shared(a: list[float], b: list[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, wide) * max(0.0, high)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def bare_session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def take_turns(
    ways: dict[str, Callable[[], object]], batch: int, count: int = ROUNDS
) -> list[dict[str, float]]:
    """Seconds an item, each way once a round, after each was warmed."""
    for way in ways.values():
        way()
    order = itertools.cycle([list(ways), list(reversed(ways))])  # who comes first, takes turns
    return [
        {name: clock(ways[name]) / batch for name in names}
        for _, names in zip(range(count), order, strict=False)
    ]


def ratio(rounds: list[dict[str, float]], one: str, other: str) -> float:
    return round(statistics.median(each[one] / each[other] for each in rounds), 3)


def clock(work: Callable[[], object]) -> float:
    """Seconds that *work* takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def pack(home: Path, precision: Precision) -> Pack:
    """A pack of the graph `image.<precision>.onnx`, of which only pictures are asked."""
    image = ImageGraph(
        file=f"image.{precision}.onnx",
        sha256=UNKNOWN,
        precision=precision,
        memory_mib=1,
        buckets=BATCHES,
        size=B32.image,
        resize="shortest",
        resample="bicubic",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        colour="RGB",
        layout="NCHW",
        preprocess="1",
        input="image",
        output="embedding",
        normalised=True,
    )
    text = TextGraph(
        file="text.fp32.onnx",
        sha256=UNKNOWN,
        tokenizer="none",
        tokenizer_sha256=UNKNOWN,
        kind="clip-bpe",
        context=B32.context,
        pad=0,
        input="text",
        output="embedding",
        normalised=True,
    )
    embed = Embed(B32.dimensions, "random", image, text)
    return pack_of(Manifest("random", "1", "none", "for a bench", embed=embed), home)


# ── memory ──────────────────────────────────────────────────────────────────────────────────


def peaks(path: Path) -> dict[int, int]:
    """MiB by batch, each in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as pool:
        return {batch: pool.submit(peak, path, batch).result() for batch in BATCHES}


def peak(path: Path, batch: int) -> int:
    with measured() as found:
        session = Session.open(path, threads=1)
        (port,) = session.inputs.values()
        row = np.ones((1, *(extent or 1 for extent in port.shape[1:])), port.dtype)
        session.warm_up(port.name, row, "embedding", (batch,))
    return found.mib


# ── layouts ─────────────────────────────────────────────────────────────────────────────────


def layouts(home: Path, n: int) -> dict[str, Any]:
    """One model published twice and imported thrice; photos indexed and searched with it."""
    data, photos = home / "data", home / "photos"
    packs = data / "packs"
    begin = time.perf_counter()
    made = [
        import_pack(write_immich(home / "immich", VOCABULARY, B32), packs),
        import_pack(write_optimum(home / "optimum", VOCABULARY, B32), packs),
    ]
    made.append(import_pack(made[1].directory, packs, "own"))
    seconds = time.perf_counter() - begin
    random = np.random.default_rng(2)
    pictures = [random.integers(0, 256, (300, 400, 3), np.uint8) for _ in range(4)]
    seen, said = [], []
    for each in made:
        tower = ImageTower.open(each)
        seen.append(tower.embed(tower.prepare(pictures)))
        said.append(TextTower.open(each).encode(QUERIES))
    photos.mkdir()
    files = sorted((CORPUS / "general" / "rclip").rglob("*.jpg")) + sorted(
        (CORPUS / "exif").rglob("*.jpg")
    )
    for number, file in enumerate(files[:n]):
        shutil.copyfile(file, photos / f"{number}.jpg")
    (data / "obscura.toml").write_text('[model]\npack = "own"\n', encoding="utf-8")
    summary = index_once(photos, data)
    with running(photos, data) as library, library.socket() as socket:
        library.wait_indexed()
        hits = [len(socket.search(query, k=5)) for query in QUERIES]
    return {
        "layouts_written_and_imported_s": round(seconds, 1),
        "layouts_cosine_pictures": min(_cosines(seen)),
        "layouts_cosine_words": min(_cosines(said)),
        "layouts_indexed": f"{summary['indexed']} of {summary['files']}",
        "layouts_hits": hits,
    }


def _cosines(vectors: list[Any]) -> Iterator[float]:
    first, *others = vectors
    for other in others:
        yield round(float((first * other).sum(axis=1).min()), 6)
