"""Pictures in, sentences out, whatever the layout of the graphs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from models.captions.captioner import Captioner, Written
from models.errors import (
    DeviceUnusable,
    ModelBroken,
    ModelsError,
    OutOfMemory,
    PackBroken,
    PictureBroken,
    RanTooLong,
)
from models.pack import Manifest, load_pack, pack_of, to_toml
from tests.models.captions.graphs import (
    DOG,
    DOT,
    FLOAT,
    GY,
    HALF,
    IDS,
    INT64,
    QUOTE,
    RED,
    SCRIPT,
    SIZE,
    A,
    S,
    captioner,
    captioner_pack,
    encoder,
    node,
    picture,
    save,
)

LAYOUTS = ["blip", "vit-gpt2", "florence2", "pastless"]
NAN = float("nan")


def batch(*pictures):
    return np.concatenate(pictures)


def answers(told):
    """Comparable: errors have no equality."""
    return [each if isinstance(each, Written) else type(each) for each in told]


# ── what is refused, before anything is run ──


@pytest.mark.parametrize(
    ("layout", "changes", "complaint"),
    [
        ("blip", {"rename": {"cross.0.value": "crossed"}}, "wants 'crossed', which no captioner"),
        ("blip", {"rename": {"cross.0.key": "cross.9.key"}}, "output 'cross.9.key', found 'cross"),
        ("blip", {"rename": {"logits": "scores"}}, "expected an output 'logits', found 'scores"),
        ("blip", {"rename": {"present.0.key": "k"}}, "expected an output 'present.0.key', found"),
        ("blip", {"rename": {"input_ids": "tokens"}}, "wants 'tokens', which no captioner has"),
        ("blip", {"more": ("position_ids",)}, "wants 'position_ids', which no captioner has"),
        ("blip", {"more": ("use_cache_branch",)}, "'use_cache_branch' to be bool, found float32"),
        ("vit-gpt2", {"more": ("encoder_attention_mask",)}, "to be int64, found float32"),
        ("vit-gpt2", {"kind": "blip"}, "expected an output 'encoder_hidden_states'"),
        ("blip", {"kind": "vit-gpt2"}, "expected it to see 'encoder_hidden_states', found 'cross"),
        ("florence2", {"rename": {"inputs_embeds": "input_ids"}}, "wants 'input_ids', which no"),
        ("blip", {"heads": "h"}, "does not tell how many heads 'past.0.key' has, nor how wide"),
        ("blip", {"size": 8}, r"expected 'pixel_values' to be \[n, 3, 8, 8\], found \[n, 3, 4, 4"),
    ],
)
def test_graphs_that_do_not_fit_the_kind_are_refused(
    tmp_path, monkeypatch, layout, changes, complaint
):
    ran = []
    monkeypatch.setattr("models.session.Session.run_kept", lambda *a, **k: ran.append(a))
    with pytest.raises(ModelBroken, match=complaint):
        captioner(tmp_path, layout, **changes)
    assert not ran


@pytest.mark.parametrize("layout", ["blip", "vit-gpt2", "florence2"])
def test_halves_of_two_precisions_are_refused(tmp_path, layout):
    full = captioner_pack(tmp_path / "full", layout)
    half = captioner_pack(tmp_path / "half", layout, dtype=HALF)
    full.path("decoder.onnx").write_bytes(half.path("decoder.onnx").read_bytes())
    with pytest.raises(ModelBroken, match="to be float16, found float32"):
        Captioner.open(full)


def bare_decoder(path, *seen):
    """One that says the same of everything, in one row, and looks at *seen* for nothing."""
    save(
        path,
        [node("Identity", ["same"], ["logits"])],
        [("input_ids", INT64, ("b", "s")), *((name, FLOAT, shape) for name, shape in seen)],
        [("logits", FLOAT, (1, IDS))],
        {"same": np.zeros((1, IDS), np.float32)},
    )


def test_a_decoder_that_does_not_look_is_refused(tmp_path):
    pack = captioner_pack(tmp_path)
    bare_decoder(pack.path("decoder.onnx"))
    with pytest.raises(
        ModelBroken, match=r"'cross\.0\.key', and 'past\.0\.key', found 'input_ids'"
    ):
        Captioner.open(pack)


def test_a_decoder_that_loses_rows_is_refused(tmp_path):
    pack = captioner_pack(tmp_path, "vit-gpt2")
    bare_decoder(pack.path("decoder.onnx"), ("encoder_hidden_states", ("b", SCRIPT, 1)))
    teller = Captioner.open(pack)
    with pytest.raises(ModelBroken, match=r"expected logits of 2 sequences, found \[1, 14\]"):
        teller.caption(batch(picture(A), picture(A)))


def test_a_picture_and_a_question_of_two_widths_are_refused(tmp_path):
    pack = captioner_pack(tmp_path, "florence2")
    encoder(pack.path("vision.onnx"), {"image_features": [SCRIPT // 2, 2]}, FLOAT)
    with pytest.raises(ModelBroken, match="expected image_features of 1 columns"):
        Captioner.open(pack)


def test_a_device_that_begins_otherwise_than_the_cpu_is_refused(tmp_path):
    teller = captioner(tmp_path, noise=4.0)
    logits = teller._check_itself()
    teller._check_against(logits, logits * 1.001)
    with pytest.raises(DeviceUnusable, match=r"decoder\.onnx otherwise than the CPU: cosine -1"):
        teller._check_against(logits, -logits)


def test_ids_that_the_decoder_does_not_know_are_refused(tmp_path):
    with pytest.raises(PackBroken, match=f"names the id 99, but its decoder knows {IDS}"):
        captioner(tmp_path, begin=(99,))


def test_a_graph_that_is_another_than_the_pack_names_is_refused(tmp_path):
    pack = captioner_pack(tmp_path)
    pack.path("decoder.onnx").write_bytes(b"torn")
    with pytest.raises(PackBroken, match=r"decoder\.onnx: expected sha256"):
        Captioner.open(pack)


def test_a_pack_without_the_section_is_refused(tmp_path):
    with pytest.raises(PackBroken, match=r"has no \[caption\] section"):
        Captioner.open(pack_of(Manifest("none", "1", "x", "x"), tmp_path))


def test_a_model_that_says_nothing_of_an_ordinary_picture_is_refused(tmp_path):
    with pytest.raises(ModelBroken, match="NaN or infinity for an ordinary test picture"):
        captioner(tmp_path, noise=NAN)


def test_a_caption_cannot_be_longer_before_it_may_end_than_it_may_be(tmp_path):
    captioner_pack(tmp_path)
    with pytest.raises(ValueError, match="shortest must leave room below longest"):
        captioner_pack(tmp_path, longest=4, shortest=4)


def test_a_pack_survives_its_toml(tmp_path):
    pack = captioner_pack(tmp_path, "florence2")
    (tmp_path / "pack.toml").write_text(to_toml(pack), "utf-8")
    assert load_pack(tmp_path).caption == pack.caption


# ── what is told ──


@pytest.mark.parametrize("dtype", [FLOAT, HALF])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_tells_what_the_pictures_show(tmp_path, layout, beams, dtype):
    teller = captioner(tmp_path, layout, beams=beams, dtype=dtype)
    tensor = batch(picture(A, RED, DOG), picture(), picture(A, DOG, GY, QUOTE, S, DOT), picture(A))
    told = teller.caption(tensor.astype(teller.prepare([]).dtype))
    assert [each.text for each in told] == ["a red dog", "", "a doggy's.", "a"]
    assert [each.ids for each in told] == [(A, RED, DOG), (), (A, DOG, GY, QUOTE, S, DOT), (A,)]
    assert all(-0.001 < each.score < 0 for each in told)


@pytest.mark.parametrize("beams", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_tells_what_each_picture_alone_tells_cached_or_not(tmp_path, layout, beams):
    teller = captioner(tmp_path, layout, beams=beams, noise=4.0, longest=9, no_repeat=2)
    rng = np.random.default_rng(5)
    tensor = batch(*(picture(*rng.integers(5, 12, rng.integers(0, 7))) for _ in range(7)))
    together = teller.caption(tensor)
    assert len({each.ids for each in together}) > 3  # they do differ
    alone = [teller.caption(row[None])[0] for row in tensor]
    teller._cached = False
    uncached = [*teller.caption(tensor[:4]), *teller.caption(tensor[4:])]
    for one, other, third in zip(together, alone, uncached, strict=True):
        assert one.ids == other.ids == third.ids
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.score == pytest.approx(third.score, abs=1e-5)


def test_who_never_stops_is_stopped(tmp_path):
    endless = picture(*[DOG] * SCRIPT)
    for beams in (1, 3):
        (told,) = captioner(tmp_path, longest=5).caption(endless, beams=beams)
        assert told.ids == (DOG,) * 5
        assert told.text == "dog dog dog dog dog"


def test_the_shortest_and_what_may_not_repeat_are_the_packs(tmp_path):
    (told,) = captioner(tmp_path, shortest=2).caption(picture(A))
    assert len(told.ids) == 2
    (told,) = captioner(tmp_path, no_repeat=1).caption(picture(DOG, DOG, DOG))
    assert len(set(told.ids)) == len(told.ids)


def test_a_prompt_is_no_part_of_the_caption(tmp_path):
    prompted = captioner(tmp_path, begin=(12, A))
    (told,) = prompted.caption(picture(A, RED, DOG))
    assert told == Written("red dog", (RED, DOG), told.score)  # the first was there already


@pytest.mark.parametrize("beams", [1, 3])
def test_a_picture_that_gives_no_numbers_is_given_up_alone(tmp_path, beams):
    teller = captioner(tmp_path)
    tensor = batch(picture(A, NAN), picture(A, RED, DOG), picture(NAN), picture(DOG))
    told = teller.caption(tensor, beams=beams)
    assert answers(told)[::2] == [PictureBroken, PictureBroken]
    assert [each.text for each in told[1::2]] == ["a red dog", "dog"]
    assert told[0].fault == "photo"


def test_no_number_for_a_test_picture_either_is_the_models_fault(tmp_path, monkeypatch):
    teller = captioner(tmp_path)
    monkeypatch.setattr(teller, "prepare", lambda _: picture(NAN))
    with pytest.raises(ModelBroken, match="ordinary test picture"):
        teller.caption(picture(NAN))


def test_no_pictures_no_captions(tmp_path):
    teller = captioner(tmp_path)
    assert teller.caption(teller.prepare([])) == []


def test_pictures_are_prepared_as_the_pack_says(tmp_path):
    teller = captioner(tmp_path, dtype=HALF, colour="BGR")
    red = Image.new("RGB", (9, 6), (255, 0, 0))
    tensor = teller.prepare([red, np.asarray(red)])
    assert (tensor.shape, tensor.dtype) == ((2, 3, SIZE, SIZE), np.float16)
    assert tensor[1, :, 0, 0].tolist() == [-1, -1, 1]
    assert (teller.size, teller.space, teller.buckets) == (SIZE, "tiny-words", (1, 2, 4))
    with pytest.raises(PictureBroken, match="0 x 5 pixels"):
        teller.prepare([np.zeros((5, 0, 3), np.uint8)])


@pytest.mark.parametrize(
    "tensor", [np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 3, SIZE, SIZE))]
)
def test_a_tensor_of_another_captioner_is_refused(tmp_path, tensor):
    with pytest.raises(ValueError, match=r"expected float32 \[n, 3, 4, 4\], found"):
        captioner(tmp_path).caption(tensor)


# ── while it is written ──


def test_text_is_said_as_it_grows(tmp_path):
    said = []
    tensor = batch(picture(A, DOG, GY, QUOTE, S), picture(), picture(RED), picture(A, RED, DOG))
    told = captioner(tmp_path, buckets=(1, 2)).caption(
        tensor, said=lambda row, text: said.append((row, text))
    )
    assert [text for row, text in said if row == 0] == ["a", "a dog", "a doggy", "a doggy's"]
    assert [text for row, text in said if row == 3] == ["a", "a red", "a red dog"]
    for row, each in enumerate(told):
        assert ([""] + [text for other, text in said if other == row])[-1] == each.text


def test_beams_say_nothing_before_they_know(tmp_path):
    said = []
    captioner(tmp_path).caption(picture(A), beams=2, said=lambda *each: said.append(each))
    assert said == []


# ── batches, memory, time ──


def looked_at(teller, monkeypatch):
    """The batches that the encoder saw from now on."""
    seen, look = [], teller._teller.look

    def noted(tensor):
        seen.append(len(tensor))
        return look(tensor)

    monkeypatch.setattr(teller._teller, "look", noted)
    return seen


def test_a_batch_is_cut_into_buckets_and_not_padded_on_the_cpu(tmp_path, monkeypatch):
    teller = captioner(tmp_path)
    seen = looked_at(teller, monkeypatch)
    tensor = batch(*[picture(A, DOG)] * 7)
    assert [each.text for each in teller.caption(tensor)] == ["a dog"] * 7
    assert seen == [4, 3]
    teller.caption(tensor[:5], largest=2)
    assert seen[2:] == [2, 2, 1]


@pytest.mark.parametrize("beams", [1, 2])
def test_an_encoder_of_a_fixed_batch_gets_full_ones(tmp_path, monkeypatch, beams):
    teller = captioner(tmp_path, batch=2, beams=beams)
    assert teller.buckets == (2,)
    seen, said = looked_at(teller, monkeypatch), []
    told = teller.caption(
        batch(picture(A), picture(DOG), picture(RED)), said=lambda row, _: said.append(row)
    )
    assert [each.text for each in told] == ["a", "dog", "red"]
    assert seen == [2, 2]
    assert set(said) <= {0, 1, 2}


def test_every_bucket_is_warmed_up_and_the_largest_to_its_end(tmp_path, monkeypatch):
    teller = captioner(tmp_path, beams=2)
    seen, read, reads = looked_at(teller, monkeypatch), teller._teller.decoder.read, []

    def counted(words, memory):
        reads.append(len(words))
        return read(words, memory)

    monkeypatch.setattr(teller._teller.decoder, "read", counted)
    teller.warm_up()
    assert seen == [1, 2, 4]
    assert reads == [1, 2, 2, 2, 4, 4, 4] + [8] * 6


@pytest.mark.parametrize("where", ["run_kept", "take"])
def test_out_of_memory_tells_how_many_pictures_did_not_fit(tmp_path, monkeypatch, where):
    teller = captioner(tmp_path)
    session = teller._teller.decoder.session

    def full(*_, **__):
        raise OutOfMemory(Path("decoder.onnx"), 12, "no room")

    monkeypatch.setattr(session, where, full)
    with pytest.raises(OutOfMemory, match="no memory for a batch of 4: no room") as caught:
        teller.caption(batch(*[picture(A)] * 7), beams=3)
    assert caught.value.rows == 4


def test_all_steps_together_end_at_the_limit(tmp_path, monkeypatch):
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("models.session.time", clock)
    monkeypatch.setattr("models.captions.captioner.time", clock)
    teller, said = captioner(tmp_path), []
    teller.limit(60)

    def slowly(_row, text):
        said.append(text)
        now[0] += 25

    with pytest.raises(RanTooLong, match="did not end within 60 s"):
        teller.caption(picture(A, RED, DOG, DOT), said=slowly)
    assert said == ["a", "a red", "a red dog"]
    assert teller.caption(picture(A, DOG), said=slowly)[0].text == "a dog"  # each call anew
    teller.limit(None)
    assert teller.caption(picture(A, RED, DOG, DOT), said=slowly)[0].text == "a red dog."


def test_a_limit_of_nothing_lets_nothing_run(tmp_path):
    teller = captioner(tmp_path, "florence2")
    teller.limit(1e-9)
    with pytest.raises(RanTooLong) as caught:
        teller.caption(picture(A))
    assert caught.value.fault == "worker"
    assert isinstance(caught.value, ModelsError)
