"""Ids to words."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from models.captions.vocabulary import Growing, Vocabulary, library, wordpiece
from models.errors import ModelBroken
from tests.models.captions.graphs import DEC, DOG, DOT, GY, PAD, QUOTE, RED, STOP, WORDS, A, S


@pytest.fixture
def bert(tmp_path) -> Vocabulary:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", "utf-8")
    return Vocabulary(wordpiece(path), frozenset({STOP, PAD}))


@pytest.fixture(scope="session")
def gpt() -> Vocabulary:
    """Bytes, no merges: each id is a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return Vocabulary(inner)


def test_pieces_are_joined_and_stops_stand_at_their_words(bert):
    assert bert.text([A, RED, DOG, GY, DOT]) == "a red doggy."
    assert bert.text([A, DOG, QUOTE, S]) == "a dog's"


def test_what_is_no_word_is_not_written(bert):
    assert bert.text([DEC, A, PAD, DOG, STOP, DEC + 1, 4]) == "a dog"
    assert bert.text([A, 9999]) == "a"
    assert bert.text([]) == ""


def test_blips_own_tokens_come_behind_berts(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", "utf-8")
    inner = wordpiece(path)
    assert inner.token_to_id("[DEC]") == len(WORDS)
    assert inner.token_to_id("[ENC]") == len(WORDS) + 1
    path.write_text("\n".join([*WORDS, "[DEC]", "[ENC]"]) + "\n", "utf-8")
    assert wordpiece(path).token_to_id("[ENC]") == len(WORDS) + 1


def test_wordpiece_in_a_tokenizer_json_reads_the_same(tmp_path, bert):
    bert._inner.save(str(tmp_path / "tokenizer.json"))
    other = Vocabulary(library(tmp_path / "tokenizer.json"), frozenset({STOP, PAD}))
    for ids in ([A, RED, DOG, GY, DOT], [A, DOG, QUOTE, S], [DEC, A, STOP]):
        assert other.text(ids) == bert.text(ids)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\nb\n", b"[UNK]\na\na\n", b""])
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, content):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ModelBroken, match=r"vocab\.txt: expected BERT's vocabulary"):
        wordpiece(tmp_path / "vocab.txt")
    with pytest.raises(ModelBroken, match="expected a tokenizer"):
        library(tmp_path / "missing.json")


def test_lines_become_one(gpt):
    assert gpt.text(gpt.ids("  a cat\n on\ta  mat ")) == "a cat on a mat"


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), max_size=12))
def test_half_a_letter_is_never_said_and_nothing_is_taken_back(gpt, text):
    ids = gpt.ids(text)
    growing = Growing(gpt)
    said = ["", *(growing.text for length in range(len(ids)) if growing.grow(ids[: length + 1]))]
    for shorter, longer in itertools.pairwise(said):
        assert longer.startswith(shorter)
        assert len(longer) > len(shorter)
    whole = gpt.text(ids)
    if "\ufffd" not in text:
        assert whole.startswith(said[-1])
        assert "\ufffd" not in said[-1]


def test_an_apostrophe_waits_for_what_comes(bert):
    growing = Growing(bert)
    heard = [growing.text for ids in ([A], [A, DOG], [A, DOG, QUOTE]) if growing.grow(ids)]
    assert heard == ["a", "a dog"]
    assert growing.grow([A, DOG, QUOTE, S])
    assert growing.text == "a dog's"
