"""From published folders to packs: what is read from graphs, what is refused, what is left."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench.towers import TINY, image_tower, save, text_tower, write_immich, write_optimum
from models import importing
from models.clip import ImageTower, TextTower
from models.errors import ModelBroken, PackBroken
from models.importing import import_pack
from models.pack import find_pack, load_pack, verify
from models.tokenizer import Tokenizer, clip_merges


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def published(tmp_path, graphs):
    """Writes an immich folder of small graphs; arguments go to their writers."""

    def write(image=None, text=None, preprocess=None, pad="[pad]", text_cfg=None):
        folder = tmp_path / "ViT Tiny__v1"
        for name in ("visual", "textual"):
            (folder / name).mkdir(parents=True)
        graphs.image(folder / "visual" / "model.onnx", **(image or {}))
        graphs.text(folder / "textual" / "model.onnx", **(text or {}))
        graphs.tokenizer(folder / "textual" / "tokenizer.json")
        told = {
            "config.json": {"text_cfg": {"context_length": 6} | (text_cfg or {})},
            "visual/preprocess_cfg.json": {
                "size": 8,
                "mean": [0.5] * 3,
                "std": [0.5] * 3,
            }
            | (preprocess or {}),
            "textual/tokenizer_config.json": {"pad_token": pad},
        }
        for name, value in told.items():
            (folder / name).write_text(json.dumps(value))
        return folder

    return write


@pytest.fixture
def packs(tmp_path):
    return tmp_path / "imported"


def nothing_is_left(packs: Path) -> bool:
    return not packs.exists() or not list(packs.iterdir())


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(count)
    return [random.integers(0, 256, (300, 400, 3), np.uint8) for _ in range(count)]


# ── what is refused ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", ["visual/model.onnx", "textual/model.onnx"])
@pytest.mark.parametrize("keep", [0, 0.5, 0.99])
def test_a_truncated_graph_is_refused_with_its_name(published, packs, file, keep):
    source = published()
    path = source / file
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ModelBroken, match="expected a whole ONNX graph") as caught:
        import_pack(source, packs)
    assert caught.value.file == path
    assert nothing_is_left(packs)


def test_a_wrong_hash_is_refused_before_anything_is_loaded(published, packs):
    source = published()
    expected = {"visual/model.onnx": "0" * 64}
    with pytest.raises(PackBroken, match=r"model\.onnx: expected sha256 0000") as caught:
        import_pack(source, packs, expected=expected)
    assert caught.value.file == source / "visual/model.onnx"
    assert nothing_is_left(packs)
    good = {"visual/model.onnx": sha256(source / "visual/model.onnx")}
    import_pack(source, packs, expected=good)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"preprocess": {"size": 16}}, r"visual/model\.onnx: expected 'pixels' to be \[n, 3, 16"),
        ({"image": {"shape": ("n", 192)}}, r"expected 'pixels' to be \[n, 3, 8, 8\], found \[n, 1"),
        ({"image": {"dtype": TensorProto.INT64}}, "to be float32 or float16 or uint8, found int64"),
        ({"text": {"dtype": TensorProto.FLOAT}}, "expected an ONNX graph this onnxruntime loads"),
        ({"image": {"last": "Sqrt"}}, "expected 'embedding' to be finite .* found NaN"),
        ({"text": {"scale": np.nan}}, r"textual/model\.onnx: expected 'embedding' to be finite"),
        (
            {"image": {"columns": 5, "output": ("n", "d")}},
            r"textual/model\.onnx: expected 'embedding' to be \[n, 5\], found \[n, 4\]",
        ),
        ({"pad": "[nobody]"}, r"tokenizer\.json: expected a token '\[nobody\]'"),
    ],
)
def test_a_graph_that_does_not_fit_its_config_is_refused(published, packs, changes, complaint):
    with pytest.raises(ModelBroken, match=complaint):
        import_pack(published(**changes), packs)
    assert nothing_is_left(packs)


def test_a_graph_of_two_inputs_is_refused(published, packs, graphs):
    source = published()
    graphs.save(
        source / "textual" / "model.onnx",
        [helper.make_node("Add", ["input_ids", "attention_mask"], ["embedding"])],
        [(name, TensorProto.INT64, ("n", 6)) for name in ("input_ids", "attention_mask")],
        [("embedding", TensorProto.INT64, ("n", 6))],
        {},
    )
    with pytest.raises(ModelBroken, match="of one input, found 'input_ids', 'attention_mask'"):
        import_pack(source, packs)


def test_a_graph_without_a_vector_is_refused(published, packs, graphs):
    source = published()
    graphs.save(
        source / "visual" / "model.onnx",
        [helper.make_node("Identity", ["pixels"], ["map"])],
        [("pixels", TensorProto.FLOAT, ("n", 3, 8, 8))],
        [("map", TensorProto.FLOAT, ("n", 3, 8, 8))],
        {},
    )
    with pytest.raises(ModelBroken, match=r"expected one output \[n, d\], found 'map'"):
        import_pack(source, packs)


@pytest.mark.parametrize("name", ["", "../x", "Tiny", "x" * 49, ".x"])
def test_a_name_that_is_no_pack_s_is_refused(published, packs, name):
    source = published()
    if name:
        with pytest.raises(PackBroken, match="expected a name of at most"):
            import_pack(source, packs, name)
        return
    assert import_pack(source, packs, name).name == "vit-tiny__v1"


def test_a_pack_that_is_there_is_not_touched(published, packs):
    source = published()
    first = import_pack(source, packs, "tiny")
    with pytest.raises(PackBroken, match="imported/tiny: expected no pack of that name"):
        import_pack(source, packs, "tiny")
    verify(first)


def test_a_disk_that_fills_up_leaves_nothing(published, packs, monkeypatch):
    source = published()

    def full(*_):
        raise OSError(28, "No space left on device", str(packs / "tiny" / "x"))

    monkeypatch.setattr(importing, "_copy", full)
    with pytest.raises(PackBroken, match="cannot be copied: No space left"):
        import_pack(source, packs, "tiny")
    assert nothing_is_left(packs)


def test_what_a_killed_import_left_is_removed_by_the_next(published, packs):
    dead = packs / ".tiny.999999999.partial"
    alive = packs / ".tiny.1.partial"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"half")
    import_pack(published(), packs, "tiny")
    assert sorted(each.name for each in packs.iterdir()) == [".tiny.1.partial", "tiny"]


# ── what is read from graphs ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ids", [TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("batch", ["n", 1])
def test_any_id_width_and_batch_gives_a_pack_that_works(published, packs, ids, batch):
    source = published(
        image={"shape": (batch, 3, 8, 8), "output": (batch, 4)},
        text={"dtype": ids, "shape": (batch, 6)},
    )
    pack = import_pack(source, packs, "tiny")
    verify(pack)
    embed = pack.require_embed()
    assert embed.dimensions == 4
    assert embed.image.buckets == ((1,) if batch == 1 else (1, 8, 32))
    assert (embed.text.pad, embed.text.context, embed.text.kind) == (0, 6, "tokenizers")
    tower = ImageTower.open(pack)
    assert tower.embed(tower.prepare(pictures(3))).shape == (3, 4)
    assert TextTower.open(pack).encode(["red dog", "photo"]).shape == (2, 4)


def test_a_float16_graph_is_taken_as_it_is(published, packs):
    pack = import_pack(published(image={"dtype": TensorProto.FLOAT16}), packs)
    tower = ImageTower.open(pack)
    assert tower.prepare(pictures(1)).dtype == np.float16


def test_a_graph_of_bare_pixels_in_rows_is_taken_as_it_is(published, packs):
    source = published(image={"dtype": TensorProto.UINT8, "shape": ("n", 8, 8, 3)})
    pack = import_pack(source, packs)
    assert pack.require_embed().image.layout == "NHWC"
    assert ImageTower.open(pack).prepare(pictures(1)).dtype == np.uint8


@pytest.mark.parametrize(("last", "normalised"), [("Identity", False), ("LpNormalization", True)])
def test_whether_a_graph_normalises_is_measured(published, packs, last, normalised):
    embed = import_pack(published(image={"last": last}), packs).require_embed()
    assert embed.image.normalised == normalised
    assert not embed.text.normalised


def test_a_tower_that_sees_its_padding_is_known(published, packs):
    assert not import_pack(published(), packs).require_embed().text.causal


def test_canonical_text_reaches_the_tokenizer(published, packs):
    source = published(text_cfg={"tokenizer_kwargs": {"clean": "canonicalize"}})
    pack = import_pack(source, packs)
    assert pack.require_embed().text.canonical
    tokenizer = Tokenizer.from_pack(pack)
    assert tokenizer.encode("Red,   DOG!") == tokenizer.encode("red dog") == [1, 5, 6, 2]


def test_weights_beside_a_graph_are_part_of_the_pack(published, packs):
    source = published()
    path = source / "visual" / "model.onnx"
    model = onnx.load(path)
    onnx.save_model(
        model, path, save_as_external_data=True, location="model.onnx_data", size_threshold=100
    )
    pack = import_pack(source, packs, "tiny")
    assert list(pack.files) == ["visual/model.onnx_data"]
    ImageTower.open(pack)
    (pack.directory / "visual" / "model.onnx_data").write_bytes(b"torn")
    with pytest.raises(PackBroken, match=r"model\.onnx_data: expected sha256"):
        verify(pack)
    (source / "visual" / "model.onnx_data").unlink()
    with pytest.raises(ModelBroken, match=r"model\.onnx_data: expected the weights"):
        import_pack(source, packs, "other")
    assert [each.name for each in packs.iterdir()] == ["tiny"]


def test_two_imports_of_one_folder_are_one_space_and_one_revision(published, packs, tmp_path):
    source = published()
    one, two = (import_pack(source, tmp_path / each, "tiny") for each in "ab")
    assert one.require_embed().space == two.require_embed().space
    assert one.revision == two.revision
    other = import_pack(source, packs, "other")
    assert other.require_embed().space != one.require_embed().space


def test_the_licence_comes_from_the_caller_or_the_readme(published, packs):
    source = published()
    assert import_pack(source, packs, "a").licence == "unknown"
    (source / "README.md").write_text("---\ntags: [x]\nlicense: mit\n---\nlicense: no\n")
    assert import_pack(source, packs, "b").licence == "mit"
    pack = import_pack(source, packs, "c", licence="Apache-2.0", revision="abc", summary="mine")
    assert (pack.licence, pack.revision, pack.summary) == ("Apache-2.0", "abc", "mine")


# ── our own packs ───────────────────────────────────────────────────────────────────────────


def test_a_pack_of_ours_is_copied_under_the_name_it_is_given(pack_at, packs):
    source = pack_at()
    pack = import_pack(source, packs, "mine")
    assert find_pack("mine", [packs]).checksums() == load_pack(source).checksums()
    assert pack.require_embed() == load_pack(source).require_embed()


def test_an_altered_pack_of_ours_is_refused(pack_at, packs):
    source = pack_at()
    path = source / "text.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PackBroken, match=r"text\.onnx: expected sha256"):
        import_pack(source, packs)
    assert nothing_is_left(packs)


def test_a_pack_of_ours_that_does_not_do_what_it_says_is_refused(pack_at, packs):
    with pytest.raises(ModelBroken, match=r"image\.onnx: expected 'pixels' to be \[n, 3, 16, 16"):
        import_pack(pack_at(more={"embed.image.size": 16}), packs)
    assert nothing_is_left(packs)


# ── CLIP in three layouts ───────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def clip(corpus, tmp_path_factory):
    """One small CLIP with the real vocabulary, published thrice and imported thrice."""
    home = tmp_path_factory.mktemp("clip")
    vocabulary = corpus / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"
    sources = [
        write_immich(home / "immich", vocabulary, TINY),
        write_optimum(home / "optimum", vocabulary, TINY),
    ]
    packs = [import_pack(source, home / "packs") for source in sources]
    own = import_pack(packs[1].directory, home / "packs", "own")
    return SimpleNamespace(vocabulary=vocabulary, sources=sources, packs=[*packs, own])


@pytest.mark.corpus
def test_clip_s_vocabulary_is_recognised_and_read_as_the_reference_reads_it(clip):
    texts = [each["text"] for each in _examples(clip.vocabulary)]
    texts += ["a photo of a cat", "猫の写真", "🐱 &amp; <|endoftext|>", "“quoted”", "x " * 99]
    expected = [Tokenizer.clip(clip.vocabulary).encode(text) for text in texts]
    for pack in clip.packs:
        assert pack.require_embed().text.kind == "clip-bpe"
        assert [Tokenizer.from_pack(pack).encode(text) for text in texts] == expected


def _examples(vocabulary: Path) -> list[dict[str, str]]:
    examples: list[dict[str, str]] = json.loads(
        (vocabulary.parent / "expected_tokens.json").read_bytes()
    )
    return examples


@pytest.mark.corpus
def test_a_vocabulary_with_one_token_changed_is_not_clip_s(clip, tmp_path):
    path = tmp_path / "tokenizer.json"
    told = json.loads((clip.sources[1] / "tokenizer.json").read_bytes())
    vocab = told["model"]["vocab"]
    vocab["a</w>"], vocab["b</w>"] = vocab["b</w>"], vocab["a</w>"]
    path.write_text(json.dumps(told))
    assert clip_merges(path) is None


@pytest.mark.corpus
def test_three_layouts_of_one_model_give_the_same_vectors(clip):
    towers = [ImageTower.open(pack) for pack in clip.packs]
    one, *others = [tower.embed(tower.prepare(pictures(5))) for tower in towers]
    texts = ["a dog on a beach", "", "猫", "two red boats " * 30]
    said, *rest = [TextTower.open(pack).encode(texts) for pack in clip.packs]
    for other, also in zip(others, rest, strict=True):
        assert (one * other).sum(axis=1).min() > 0.9999
        assert (said * also).sum(axis=1).min() > 0.9999
    assert (said @ said.T)[~np.eye(4, dtype=bool)].max() < 0.999


@pytest.mark.corpus
def test_what_layouts_differ_in_is_read_from_the_graphs(clip):
    immich, optimum, own = (pack.require_embed() for pack in clip.packs)
    assert (immich.image.input, optimum.image.input) == ("image", "pixel_values")
    assert (immich.image.normalised, optimum.image.normalised) == (True, False)
    assert (immich.image.buckets, optimum.image.buckets) == ((1,), (1, 8, 32))
    assert (immich.text.causal, immich.text.pad) == (True, 49407)
    assert own == optimum


@pytest.mark.corpus
def test_a_clip_without_a_mask_is_padded_as_open_clip_pads(clip, tmp_path, packs):
    source = write_immich(tmp_path / "mobile", clip.vocabulary, TINY)
    save(text_tower(TINY, causal=False), source / "textual" / "model.onnx")
    config = json.loads((source / "config.json").read_bytes())
    config["text_cfg"]["no_causal_mask"] = True
    (source / "config.json").write_text(json.dumps(config))
    text = import_pack(source, packs).require_embed().text
    assert (text.causal, text.pad, text.kind) == (False, 0, "clip-bpe")


@pytest.mark.corpus
def test_towers_of_two_widths_are_refused(clip, tmp_path, packs):
    source = write_immich(tmp_path / "clip", clip.vocabulary, TINY)
    wide = type(TINY)(**(vars(TINY) | {"dimensions": 64}))
    save(image_tower(wide), source / "visual" / "model.onnx")
    with pytest.raises(ModelBroken, match=r"expected 'embedding' to be \[n, 64\], found \[1, 32"):
        import_pack(source, packs)


# ── faces ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.corpus
def test_published_face_graphs_become_a_pack(corpus, tmp_path, packs):
    yunet = next((corpus / "onnx").rglob("yunet_s_640_640.onnx"))
    face = corpus / "onnx" / "MobileFace" / "mobileface_v2_112_256d.onnx"
    source = tmp_path / "faces"
    for name, graph in (("detection", yunet), ("recognition", face)):
        (source / name).mkdir(parents=True)
        (source / name / "model.onnx").write_bytes(graph.read_bytes())
    pack = import_pack(source, packs, licence="MIT")
    verify(pack)
    assert pack.kinds == ("detect", "recognise")
    assert pack.faces
    assert pack.faces.detect
    assert pack.faces.recognise
    assert (pack.faces.detect.kind, pack.faces.detect.size) == ("yunet", 640)
    assert len(pack.faces.detect.outputs) == 12
    assert (pack.faces.recognise.size, pack.faces.recognise.dimensions) == (112, 256)
    with pytest.raises(PackBroken, match="cannot search"):
        pack.require_embed()


def test_a_detector_with_odd_outputs_is_refused(tmp_path, graphs, packs):
    source = tmp_path / "faces"
    (source / "detection").mkdir(parents=True)
    graphs.image(source / "detection" / "model.onnx")
    with pytest.raises(ModelBroken, match=r"9 outputs \(SCRFD with landmarks\), 6 .* and 1: "):
        import_pack(source, packs)
