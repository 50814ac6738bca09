"""Texts to ids, equal to the reference wherever it is known."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ModelBroken
from models.pack import load_pack
from models.tokenizer import (
    CLIP_MERGES,
    Tokenizer,
    canonical,
    clean,
    clip_merges,
    id_of,
    words,
)

START, END = 49406, 49407


@pytest.fixture(scope="session")
def published(corpus):
    return corpus / "tokenizer" / "bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture(scope="session")
def clip(published):
    return Tokenizer.clip(published)


@pytest.mark.parametrize(
    "content", [None, b"", b"no gzip", gzip.compress(b"title\na b\n", mtime=0)]
)
def test_a_file_that_does_not_hold_the_merges_is_named(tmp_path, content):
    path = tmp_path / "merges.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelBroken, match=r"merges\.gz: expected "):
        Tokenizer.clip(path)


@pytest.mark.corpus
def test_torn_merges_are_named(published, tmp_path):
    path = tmp_path / "torn.gz"
    path.write_bytes(published.read_bytes()[:100_000])
    with pytest.raises(ModelBroken, match=r"torn\.gz: expected CLIP's merges"):
        Tokenizer.clip(path)


@pytest.mark.parametrize("content", [None, "", "{}", '{"model": 1}'])
def test_a_file_that_is_no_tokenizer_json_is_named(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelBroken, match=r"tokenizer\.json: expected a tokenizer\.json"):
        Tokenizer.library(path, context=8, pad=0)


@pytest.mark.corpus
def test_every_published_example_gives_its_ids(corpus, clip):
    for example in json.loads((corpus / "tokenizer" / "expected_tokens.json").read_bytes()):
        assert clip.encode(example["text"]) == example["ids"]


# The ids of the reference's SimpleTokenizer, with ftfy 6.3.1 before it.
@pytest.mark.corpus
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", [49406, 49407]),
        (" \t\n", [49406, 49407]),
        (
            "Don't they've I'm 'tree' ''s",
            [49406, 847, 713, 889, 1200, 328, 880, 713, 5813, 262, 8445, 338, 49407],
        ),
        (
            "猫の写真 2024年",
            [49406, 163, 234, 104, 21575, 44653, 33440, 509, 273, 271, 273, 275, 38780, 368, 49407],
        ),
        (
            "Кошка на диване",
            [
                49406,
                27152,
                13506,
                141,
                230,
                27152,
                27080,
                22705,
                27080,
                140,
                112,
                29503,
                110,
                16912,
                22705,
                140,
                369,
                49407,
            ],
        ),
        (
            "🐱 on a sofa 👨\u200d👩\u200d👧",
            [49406, 22979, 525, 320, 15723, 25023, 26304, 964, 356, 49407],
        ),
        ("caf&eacute; &amp;amp; &lt;b&gt; &nbsp;x", [49406, 15304, 261, 283, 321, 285, 343, 49407]),
        ("hi <|endoftext|> <|startoftext|> there", [49406, 1883, 49407, 49406, 997, 49407]),
        ("A!<|endoftext|>", [49406, 320, 0, 27, 347, 40786, 4160, 91, 285, 49407]),
        ("<|ENDOFTEXT|>", [49406, 49407, 49407]),
        ("ｆｕｌｌ\u3000ｗｉｄｔｈ ｶﾅ", [49406, 1476, 23571, 37367, 2429, 488, 49407]),
        ("ﬁsh ﬂy ﬅ ŉ ǆ", [49406, 2759, 3228, 129, 123, 339, 262, 333, 67, 129, 378, 49407]),
        ("“quoted” ‘single’", [49406, 257, 27706, 257, 568, 17005, 262, 49407]),
        ("½ ² Ⅷ ٣ 123", [49406, 33613, 41175, 158, 227, 371, 149, 352, 272, 273, 274, 49407]),
        ("İstanbul ẞ ß", [49406, 328, 16384, 11231, 127, 509, 127, 509, 49407]),
        ("é é", [49406, 4166, 4166, 49407]),
        ("nul\x00 bell\x07 \x93dos\x94 \x85", [49406, 1156, 331, 3718, 257, 5474, 257, 959, 49407]),
        (
            "مرحبا بالعالم",
            [49406, 12986, 10948, 25722, 16378, 22625, 16378, 12973, 18843, 12973, 29945, 49407],
        ),
        ("हिन्दी में", [49406, 29446, 26721, 26090, 19389, 29552, 25751, 26774, 48612, 30833, 49407]),
        ("a_b-c--d...e", [49406, 320, 318, 321, 268, 322, 2432, 323, 678, 324, 49407]),
        ("\ufeffbom zero\u200bwidth", [49406, 19469, 5848, 9844, 23571, 49407]),
        ("\x1b[31;1mred\x1b[0m", [49406, 736, 49407]),
        ("Kſ'ſ", [49406, 74, 129, 379, 6, 129, 379, 49407]),
    ],
)
def test_unusual_texts_give_the_ids_of_the_reference(clip, text, ids):
    assert clip.encode(text) == ids


@pytest.mark.corpus
def test_a_long_text_loses_its_end_but_not_its_end_token(clip):
    ids = clip.encode("a photo of a cat " * 40)
    assert len(ids) == 77
    assert (ids[0], ids[-1]) == (START, END)
    assert ids[1:76] == ([320, 1125, 539, 320, 2368] * 15)


@pytest.mark.corpus
def test_an_endless_word_takes_no_endless_time(clip):
    ids = clip.encode("a" * 2_000_000)
    assert len(ids) == 77
    assert ids[-1] == END


@pytest.mark.corpus
@given(text=st.text(max_size=60))
def test_any_text_has_ids_in_the_vocabulary_between_start_and_end(clip, text):
    ids = clip.encode(text)
    assert (ids[0], ids[-1]) == (START, END)
    assert len(ids) <= 77
    assert all(0 <= number <= END for number in ids)


@pytest.mark.corpus
def test_a_name_that_is_not_utf_8_has_ids_too(clip):
    assert clip.encode("caf\udce9") == clip.encode("caf\ufffd")


@pytest.mark.corpus
def test_a_batch_is_padded_with_the_pad_of_its_model(published):
    rows = Tokenizer.clip(published, context=8, pad=END).batch(["a photo of a cat", "", "x " * 9])
    assert (rows.dtype.name, rows.shape) == ("int64", (3, 8))
    assert rows[0].tolist() == [START, 320, 1125, 539, 320, 2368, END, END]
    assert rows[1].tolist() == [START] + [END] * 7
    assert rows[2].tolist() == [START] + [343] * 6 + [END]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("A Dog, on the beach!", "a dog on the beach"),
        ("  two\n_red_ boats (1)  ", "two red boats 1"),
        ("it's 50% &amp; \u201cmore\u201d", "its 50 more"),
        ("ＦＵＬＬ\u3000width", "full width"),
        ("猫。", "猫。"),  # only ASCII's punctuation goes, as in training
        ("?!", ""),
    ],
)
def test_canonical_text_is_lower_case_without_punctuation(text, plain):
    assert canonical(text) == plain


@given(st.text(max_size=60))
def test_canonical_text_stays_as_it_is(text):
    once = canonical(text)
    assert canonical(once) == once


def test_a_canonical_tokenizer_sees_canonical_text(graphs, tmp_path):
    path = graphs.tokenizer(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.library(path, context=5, pad=0, canonical=True)
    assert tokenizer.encode("RED... dog!") == [1, 5, 6, 2]
    assert Tokenizer.library(path, context=5, pad=0).encode("RED dog!") == [1, 3, 6, 3, 2]


def test_a_vocabulary_that_is_not_clip_s_is_left_to_the_library(graphs, tmp_path):
    path = graphs.tokenizer(tmp_path / "tokenizer.json")
    assert clip_merges(path) is None
    assert id_of(path, "photo") == 4
    with pytest.raises(ModelBroken, match="expected a token 'cat': there is none"):
        id_of(path, "cat")
    for content in (None, b"{", b"[]", b"\xff"):
        path.write_bytes(content) if content else path.unlink()
        with pytest.raises(ModelBroken, match=r"expected a tokenizer\.json"):
            clip_merges(path)


def test_the_number_of_merges_is_that_of_the_vocabulary():
    assert CLIP_MERGES + 2 * 256 + 2 == END + 1


@given(st.text(max_size=80))
def test_cutting_into_words_loses_white_space_only(text):
    cleaned = clean(text)
    assert "".join(words(cleaned)) == "".join(cleaned.split())


def test_a_library_tokenizer_keeps_its_closing_token(graphs, tmp_path):
    path = graphs.tokenizer(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.library(path, context=5, pad=0)
    assert tokenizer.encode("red dog") == [1, 5, 6, 2]
    assert tokenizer.encode("red dog red dog red dog") == [1, 5, 6, 5, 2]
    assert tokenizer.encode("") == [1, 2]
    assert tokenizer.batch(["photo", "blue\udce9"]).tolist() == [[1, 4, 2, 0, 0], [1, 3, 3, 2, 0]]
    assert tokenizer.batch([]).shape == (0, 5)


def test_the_file_s_own_truncation_and_padding_do_not_count(graphs, tmp_path):
    path = graphs.tokenizer(tmp_path / "tokenizer.json")
    told = json.loads(path.read_bytes())
    told["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    told["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 3,
        "pad_type_id": 0,
        "pad_token": "[unknown]",
    }
    path.write_text(json.dumps(told))
    assert Tokenizer.library(path, context=5, pad=0).encode("red dog") == [1, 5, 6, 2]


def test_a_tokenizer_without_closing_tokens_is_cut_at_the_end(graphs, tmp_path):
    path = graphs.tokenizer(tmp_path / "tokenizer.json")
    told = json.loads(path.read_bytes())
    told["post_processor"] = None
    path.write_text(json.dumps(told))
    tokenizer = Tokenizer.library(path, context=2, pad=0)
    assert tokenizer.encode("red dog photo") == [5, 6]
    assert tokenizer.batch([""]).tolist() == [[0, 0]]


def test_a_pack_says_which_kind_it_brings(pack_at):
    tokenizer = Tokenizer.from_pack(load_pack(pack_at()))
    assert (tokenizer.context, tokenizer.pad) == (6, 0)
    assert tokenizer.encode("red dog") == [1, 5, 6, 2]
    clip_kind = load_pack(pack_at(more={"embed.text.kind": "clip-bpe"}))
    with pytest.raises(ModelBroken, match=r"tokenizer\.json: expected CLIP's merges"):
        Tokenizer.from_pack(clip_kind)
