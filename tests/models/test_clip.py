"""Both towers against graphs as they come: every dtype, every batch, and the broken ones."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper

from models.clip import ImageTower, TextTower
from models.errors import DeviceUnusable, ModelBroken, PackBroken, RowsBroken
from models.pack import load_pack
from models.session import devices
from models.tower import unit


@pytest.fixture
def images(pack_at):
    """Opens the image tower of a pack written with these changes."""
    return lambda **changes: ImageTower.open(load_pack(pack_at(**changes)), threads=1)


@pytest.fixture
def texts(pack_at):
    """Opens the text tower of a pack written with these changes."""
    return lambda **changes: TextTower.open(load_pack(pack_at(**changes)), threads=1)


def pictures(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(count)
    return [generator.integers(0, 256, (9, 11, 3), np.uint8) for _ in range(count)]


def lengths(vectors: np.ndarray) -> NDArray[np.float64]:
    wide: NDArray[np.float64] = vectors.astype(np.float64)
    result: NDArray[np.float64] = np.sqrt((wide * wide).sum(axis=1))
    return result


def test_a_pack_without_an_embed_section_has_no_towers(pack_at):
    pack = load_pack(pack_at(omit=("embed.",)))
    for tower in (ImageTower, TextTower):
        with pytest.raises(PackBroken, match="cannot search"):
            tower.open(pack)


@pytest.mark.parametrize("tower", [ImageTower, TextTower])
@pytest.mark.parametrize("tear", [Path.unlink, lambda path: path.write_bytes(b"no graph")])
def test_a_graph_that_is_missing_or_corrupt_is_named(pack_at, tower, tear):
    pack = load_pack(pack_at())
    for file in ("image.onnx", "text.onnx"):
        tear(pack.path(file))
    with pytest.raises(ModelBroken, match=r"(image|text)\.onnx: expected an ONNX graph"):
        tower.open(pack)


def test_a_missing_vocabulary_is_named(pack_at):
    pack = load_pack(pack_at())
    pack.path("tokenizer.json").unlink()
    with pytest.raises(ModelBroken, match=r"tokenizer\.json: expected"):
        TextTower.open(pack)


def test_an_unknown_device_is_refused(pack_at):
    with pytest.raises(DeviceUnusable):
        ImageTower.open(load_pack(pack_at()), "tpu:0")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"more": {"embed.image.input": "image"}},
            "expected one input 'image', found 'pixels'",
        ),
        (
            {"more": {"embed.image.output": "vector"}},
            "expected an output 'vector', found 'embedding'",
        ),
        (
            {"more": {"embed.image.size": 16}},
            r"expected 'pixels' to be \[n, 3, 16, 16\], found \[n, 3, 8, 8\]",
        ),
        (
            {"more": {"embed.image.layout": "NHWC"}},
            r"expected 'pixels' to be \[n, 8, 8, 3\], found \[n, 3, 8, 8\]",
        ),
        (
            {"more": {"embed.dimensions": 512}},
            r"expected 'embedding' to be \[n, 512\], found \[n, 4\]",
        ),
        (
            {"image": {"dtype": TensorProto.INT64}},
            "expected 'pixels' to be float32 or float16 or uint8, found int64",
        ),
        (
            {"image": {"shape": ("n", 192)}},
            r"expected 'pixels' to be \[n, 3, 8, 8\], found \[n, 192\]",
        ),
    ],
)
def test_an_image_graph_that_does_not_fit_its_pack_is_refused(images, changes, complaint):
    with pytest.raises(ModelBroken, match=r"image\.onnx: " + complaint):
        images(**changes)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"text": {"shape": ("n", 77)}}, r"expected 'ids' to be \[n, 6\], found \[n, 77\]"),
        ({"more": {"embed.text.input": "x"}}, "expected one input 'x', found 'ids'"),
        ({"more": {"embed.text.pad": 99}}, "did not run: .*idx=99"),
        ({"text": {"scale": np.nan}}, "gave NaN, infinity or zero for 1 of 1 texts"),
    ],
)
def test_a_text_graph_that_does_not_fit_its_pack_is_refused(texts, changes, complaint):
    with pytest.raises(ModelBroken, match=r"text\.onnx: " + complaint):
        texts(**changes)


def test_a_width_that_the_graph_hides_shows_when_it_is_opened(pack_at, graphs):
    pack = load_pack(pack_at())
    graphs.save(
        pack.path("image.onnx"),
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("Compress", ["flat", "chosen"], ["embedding"], axis=1),
        ],
        [("pixels", TensorProto.FLOAT, ("n", 3, 8, 8))],
        [("embedding", TensorProto.FLOAT, ("n", "d"))],
        {"chosen": np.arange(192) < 5},
    )
    with pytest.raises(ModelBroken, match=r"expected 'embedding' to be \[1, 4\], found \[1, 5\]"):
        ImageTower.open(pack)


def test_a_model_that_gives_nan_for_everything_is_to_blame_itself(images):
    with pytest.raises(ModelBroken, match="for an ordinary test picture") as caught:
        images(image={"last": "Sqrt"})
    assert caught.value.fault == "worker"


def test_a_photo_without_a_vector_costs_itself_only(images):
    # Black is zero here, and zero times any matrix has no direction.
    tower = images(more={"embed.image.mean": [0.0, 0.0, 0.0]})
    black = np.zeros((8, 8, 3), np.uint8)
    good = pictures(2)
    with pytest.raises(RowsBroken, match=r"1 of 3 .*rows 1") as caught:
        tower.embed(tower.prepare([good[0], black, good[1]]))
    assert (caught.value.rows, caught.value.fault) == ((1,), "photo")
    np.testing.assert_allclose(
        caught.value.vectors[[0, 2]], tower.embed(tower.prepare(good)), atol=1e-6
    )
    assert not caught.value.vectors[1].any()


def test_nan_among_the_pixels_reaches_its_own_row_only(images):
    tower = images()
    tensor = tower.prepare(pictures(3))
    tensor[2, 0, 0, 0] = np.nan
    with pytest.raises(RowsBroken) as caught:
        tower.embed(tensor)
    assert caught.value.rows == (2,)


def test_a_tensor_of_another_tower_is_refused(images):
    tower = images()
    for tensor in (np.zeros((1, 3, 9, 9), np.float32), np.zeros((1, 3, 8, 8), np.float16)):
        with pytest.raises(ValueError, match=r"expected float32 \[n, 3, 8, 8\], found float"):
            tower.embed(tensor)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("last", ["Identity", "LpNormalization"])
def test_vectors_have_length_one_and_do_not_depend_on_the_batch(images, count, last):
    tower = images(image={"last": last})
    tensor = tower.prepare(pictures(count))
    vectors = tower.embed(tensor)
    assert (vectors.dtype, vectors.shape) == (np.float32, (count, 4))
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-6)
    alone = np.concatenate([tower.embed(row[None]) for row in tensor])
    np.testing.assert_allclose(vectors, alone, atol=1e-6)


@pytest.mark.parametrize(("largest", "runs"), [(None, [4, 4]), (3, [1] * 7), (0, [1] * 7)])
def test_a_bucket_that_did_not_fit_can_be_left_out(images, monkeypatch, largest, runs):
    tower = images()
    tensor = tower.prepare(pictures(7))
    expected = tower.embed(tensor)
    seen = []
    run = tower._session.run

    def watched(feeds, wanted=None):
        seen.append(len(feeds["pixels"]))
        return run(feeds, wanted)

    monkeypatch.setattr(tower._session, "run", watched)
    np.testing.assert_allclose(tower.embed(tensor, largest=largest), expected, atol=1e-6)
    assert seen == runs


@pytest.mark.parametrize("batch", [1, 3])
def test_a_graph_of_fixed_batch_gives_what_an_open_one_gives(images, batch):
    expected = images()
    tower = images(image={"shape": (batch, 3, 8, 8), "output": (batch, 4)})
    assert (expected.buckets, tower.buckets) == ((1, 4), (batch,))
    tower.warm_up()
    tensor = tower.prepare(pictures(5))
    np.testing.assert_allclose(tower.embed(tensor), expected.embed(tensor), atol=1e-6)


def test_a_float16_graph_is_fed_float16(images):
    expected = images()
    tower = images(image={"dtype": TensorProto.FLOAT16})
    tensor = tower.prepare(pictures(3))
    assert tensor.dtype == np.float16
    cosines = (tower.embed(tensor) * expected.embed(expected.prepare(pictures(3)))).sum(axis=1)
    assert cosines.min() > 0.9999


def test_a_uint8_graph_is_fed_bare_pixels(images):
    tower = images(
        image={"dtype": TensorProto.UINT8, "shape": ("n", 8, 8, 3)},
        more={"embed.image.layout": "NHWC"},
    )
    tensor = tower.prepare([np.full((8, 8, 3), 200, np.uint8)])
    assert tensor.dtype == np.uint8
    assert np.unique(tensor).tolist() == [200]
    np.testing.assert_allclose(lengths(tower.embed(tensor)), 1, atol=1e-6)


def test_both_towers_say_which_space_they_serve(images, texts):
    for tower in (images(), texts()):
        assert (tower.space, tower.dimensions) == ("tiny-1", 4)


def test_no_pictures_and_no_texts_are_no_vectors(images, texts):
    tower = images()
    assert tower.embed(tower.prepare([])).shape == (0, 4)
    assert texts().encode([]).shape == (0, 4)


@pytest.mark.parametrize("dtype", [TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("batch", ["n", 1])
def test_ids_of_either_width_and_any_batch_give_the_same_vectors(texts, dtype, batch):
    expected = texts()
    tower = texts(text={"dtype": dtype, "shape": (batch, 6)})
    lines = ["red dog", "", "photo of a dog", "red " * 50, "猫"]
    vectors = tower.encode(lines)
    assert (vectors.dtype, vectors.shape) == (np.float32, (5, 4))
    np.testing.assert_allclose(lengths(vectors), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, expected.encode(lines), atol=1e-6)


@given(arrays(np.float32, (5, 3), elements=st.floats(width=32)))
def test_a_row_has_length_one_or_is_named_and_zero(rows):
    vectors, broken = unit(rows)
    found = lengths(vectors)
    for index, row in enumerate(rows):
        usable = np.isfinite(row).all() and np.linalg.norm(row.astype(np.float64)) > 1e-12
        assert (index not in broken) == usable
        assert found[index] == (pytest.approx(1, abs=1e-6) if usable else 0)


@given(arrays(np.float32, (4, 8), elements=st.floats(-10, 10, width=32)))
def test_normalising_twice_changes_nothing(rows):
    once, broken = unit(rows)
    twice, still = unit(once)
    assert still == broken
    np.testing.assert_allclose(twice, once, atol=1e-7)


def test_a_gpu_gives_the_vectors_of_the_cpu(pack_at, images):
    usable = [device.name for device in devices() if device.usable and device.name != "cpu:0"]
    if not usable:
        message = f"no usable GPU: {devices()}"
        if os.environ.get("REQUIRE_GPU") == "1":
            pytest.fail(message)
        pytest.skip(message)
    expected = images()
    tensor = expected.prepare(pictures(5))
    for name in usable:
        tower = ImageTower.open(load_pack(pack_at()), name, memory_mib=512)
        tower.warm_up()
        assert (tower.embed(tensor) * expected.embed(tensor)).sum(axis=1).min() > 0.999
