"""The built-in model: what it draws, how it tells it, and whether its pack finds it again."""

import hashlib
import itertools
import json
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.clip import ImageTower, TextTower
from models.image import open_thumbnail
from models.pack import BUILT_IN, load_pack, verify
from models.sketch.__main__ import main
from models.sketch.captions import canonical, one_word_apart, paraphrase, partial
from models.sketch.recall import Recall, measure_recall, with_twin
from models.sketch.reduction import SIDE, as_seen
from models.sketch.render import choose_specs, render, render_picture
from models.sketch.spec import CLASSES, UNSAID, Kind, family, fits, is_drawable, random_spec

UNSEEN_SEED = 77_077
seeds = st.integers(0, 2**32)


def columns(specs):
    return np.array(specs, np.int64)


@pytest.fixture(scope="module")
def pack():
    return load_pack(BUILT_IN / "sketch")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A set of forty pictures with its captions."""
    directory = tmp_path_factory.mktemp("rendered")
    render(40, 5, directory)
    return directory


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("render --n 0 --out x", "'0'"),
        ("render --n 20001 --out x", "20,000"),
        ("render --n few --out x", "'few'"),
        ("render --n 3 --seed one --out x", "--seed"),
        ("render --n 3", "--out"),
        ("render --n 3 --out x --size 4", "--size"),
        ("paint", "'paint'"),
        ("", "command"),
        ("train --minutes -1 --work x", "'-1'"),
        ("train --work x --resume nowhere.pt", "'nowhere.pt'"),
    ],
)
def test_a_bad_argument_costs_one_line_that_names_it(line, complaint, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(line.split())
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert complaint in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_made_costs_one_line_that_names_it(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert main(["render", "--n", "1", "--out", str(tmp_path / "taken")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "taken") in said
    assert said.count("\n") == 1


def test_the_same_seed_gives_the_same_files(rendered, tmp_path):
    assert main(["render", "--n", "40", "--seed", "5", "--out", str(tmp_path)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in rendered.iterdir())
    for path in rendered.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_processes_draw_what_one_alone_would(tmp_path, monkeypatch):
    monkeypatch.setattr("models.sketch.render._WORTH_PROCESSES", 1)
    render(5, 8, tmp_path / "together")
    monkeypatch.setattr("models.sketch.render._WORTH_PROCESSES", 100)
    render(5, 8, tmp_path / "alone")
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()


def test_another_seed_gives_other_pictures():
    assert not set(choose_specs(40, 5)) & set(choose_specs(40, 6))


def test_every_picture_is_a_file_of_its_own_with_a_line_for_it(rendered):
    lines = [json.loads(line) for line in (rendered / "captions.jsonl").read_text().splitlines()]
    files = [line["file"] for line in lines]
    assert all(set(line) == {"file", "caption"} for line in lines)
    assert files == sorted(path.name for path in rendered.glob("*.jpg"))
    assert len({hashlib.sha256((rendered / file).read_bytes()).digest() for file in files}) == 40
    for file in files:
        with Image.open(rendered / file) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (256, 256))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 333])
def test_a_set_has_its_number_of_different_drawings_and_half_of_them_twins(number):
    specs = choose_specs(number, number)
    captions = [canonical(spec) for spec in specs]
    assert len(set(specs)) == len(set(captions)) == number
    assert number == 1 or with_twin(captions).mean() >= 0.5


def test_there_are_twenty_thousand_different_drawings():
    assert len({canonical(spec) for spec in choose_specs(20_000, 0)}) == 20_000


def test_no_caption_of_a_set_is_true_of_another_picture():
    specs = columns(choose_specs(400, 3))
    assert (fits(specs, specs) == np.eye(400, dtype=bool)).all()


def test_no_picture_of_one_group_is_told_by_a_picture_that_shows_it_and_more():
    shown = set()
    groups = []
    for spec in choose_specs(2000, 9):
        ground = (spec.ground, spec.texture)
        if spec.kind == Kind.GROUP:
            groups.append((spec.count, spec.colour, spec.noun, *ground))
        elif spec.kind != Kind.LANDSCAPE:
            shown.add((spec.count, spec.colour, spec.noun, *ground))
            shown.add((spec.count2, spec.colour2, spec.noun2, *ground))
    assert not shown & set(groups)


@given(seeds)
def test_a_family_is_drawable_different_and_within_the_classes(seed):
    members = family(Random(seed), 4)
    assert len(set(members)) == 4
    assert all(is_drawable(spec) for spec in members)
    assert (columns(members) >= 0).all()
    assert (columns(members) < CLASSES).all()


@given(seeds)
def test_whatever_a_caption_leaves_out_it_stays_true_of_its_picture(seed):
    rng = Random(seed)
    spec = random_spec(rng)
    for caption in (paraphrase(rng, spec), partial(rng, spec)):
        assert caption.text == " ".join(caption.text.split()) != ""
        assert fits(columns([caption.said]), columns([spec])).all()


def test_a_partial_caption_says_less_than_the_picture_shows():
    rng = Random(4)
    captions = [partial(rng, random_spec(rng)) for _ in range(100)]
    assert all(UNSAID in caption.said for caption in captions)


def test_twins_differ_in_one_word_and_in_one_only():
    assert one_word_apart("one red car", "one blue car")
    assert not one_word_apart("one red car", "one red car")
    assert not one_word_apart("one red car", "two red cars")
    assert not one_word_apart("one red car", "one red car in the snow")


@settings(max_examples=20)
@given(seeds)
def test_a_drawing_is_seen_at_the_size_of_the_tower(seed):
    seen = as_seen(render_picture(random_spec(Random(seed)), seed, 0))
    assert seen.shape == (SIDE, SIDE, 3)
    assert seen.dtype == np.uint8


def test_recall_counts_captions_whose_picture_comes_first():
    captions = ["one red car", "one blue car", "a beach"]
    vectors = np.eye(3, dtype=np.float32)
    assert measure_recall(captions, vectors, vectors) == Recall(1, 1, 1)
    swapped = vectors[[1, 0, 2]]
    assert measure_recall(captions, swapped, vectors) == pytest.approx((1 / 3, 1, 0))


def test_the_pack_is_whole_and_small(pack):
    verify(pack)
    assert pack.demo
    assert {"pack.toml", *pack.checksums()} == {path.name for path in pack.directory.iterdir()}
    assert sum(path.stat().st_size for path in pack.directory.iterdir()) <= 12_000_000


def test_the_pack_knows_every_word_of_the_grammar_as_one_token(pack):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pack.path(pack.embed.text.tokenizer)))
    rng = Random(6)
    texts = [paraphrase(rng, random_spec(rng)).text for _ in range(3000)]
    for word in set(itertools.chain.from_iterable(text.split() for text in texts)):
        assert len(tokenizer.encode(word).ids) == 1, word
    assert max(len(tokenizer.encode(text).ids) for text in texts) <= pack.embed.text.context


def test_letter_case_and_spaces_do_not_matter_to_the_pack(pack):
    plain, loud = TextTower.open(pack).encode(["two red stars", "  Two  RED\tstars "])
    assert plain @ loud == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", "zebra", "größer 日本 🙂", "word " * 200])
def test_the_pack_has_a_vector_for_any_text(pack, text):
    assert np.linalg.norm(TextTower.open(pack).encode([text])) == pytest.approx(1, abs=1e-5)


def test_the_pack_finds_drawings_it_has_never_seen(pack, tmp_path):
    specs = choose_specs(200, UNSEEN_SEED)
    captions = [canonical(spec) for spec in specs]
    eyes, words = ImageTower.open(pack), TextTower.open(pack)
    pictures = []
    for number, spec in enumerate(specs):
        path = tmp_path / f"{number}.jpg"
        render_picture(spec, UNSEEN_SEED, number).save(path, quality=85)
        pictures.append(open_thumbnail(path, eyes.size))
    recall = measure_recall(captions, words.encode(captions), eyes.embed(eyes.prepare(pictures)))
    assert recall.at_1 >= 0.95
    assert recall.at_5 >= 0.99
    assert recall.twins_at_1 >= 0.88
