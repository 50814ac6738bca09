"""What a pack.toml may say, and what its files must be."""

from pathlib import Path

import pytest

from models.errors import PackBroken, PackNotFound
from models.pack import BUILT_IN, Manifest, find_pack, load_pack, pack_of, to_toml, verify


def test_an_unknown_key_is_refused_with_its_path(pack_at):
    directory = pack_at(more={"embed.image.resampel": "bilinear"})
    with pytest.raises(PackBroken, match=r"pack\.toml: .*`resampel`.*`\$\.embed\.image`"):
        load_pack(directory)


def test_a_missing_key_is_refused_with_its_path(pack_at):
    with pytest.raises(PackBroken, match=r"`tokenizer`.*`\$\.embed\.text`"):
        load_pack(pack_at(omit=("embed.text.tokenizer",)))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("embed.image.resample", "bicubik", "bicubik"),
        ("embed.image.size", 0, ">= 1"),
        ("embed.image.size", "224", "got `str`"),
        ("embed.image.mean", [0.5, 0.5], "length"),
        ("embed.image.std", [0.5, 0.5, 0.0], "std must be above zero"),
        ("embed.image.buckets", [8, 1], "buckets must rise"),
        ("embed.image.buckets", [], "buckets must rise"),
        ("embed.image.buckets", [1, 1], "buckets must rise"),
        ("embed.image.sha256", "ABC", "regex"),
        ("embed.image.file", "../image.onnx", "not a file inside the pack"),
        ("embed.text.file", "/etc/passwd", "not a file inside the pack"),
        ("embed.text.tokenizer", "", "not a file inside the pack"),
        ("embed.text.context", 1, ">= 2"),
        ("embed.space", "Not A Name", "regex"),
        ("name", "../tiny", "regex"),
        ("demo", "yes", "got `str`"),
        ("embed.image.parity", 1.5, "<= 1"),
        ("embed.text.canonical", 1, "got `int`"),
        ("smells", 1, "unknown field `smells`"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(pack_at, key, value, complaint):
    section = "$" if "." not in key else f"$.{key.rpartition('.')[0]}"
    with pytest.raises(PackBroken) as caught:
        load_pack(pack_at(more={key: value}))
    assert complaint in caught.value.expectation
    if "unknown" not in complaint:
        assert section in caught.value.expectation
    assert caught.value.file.name == "pack.toml"
    assert caught.value.fault == "host"


def test_further_files_lie_inside_the_pack_as_well(pack_at):
    with pytest.raises(PackBroken, match=r"'\.\./weights' is not a file inside the pack"):
        load_pack(pack_at(more={'files."../weights"': "0" * 64}))


def test_a_manifest_is_written_as_it_is_read(pack_at):
    directory = pack_at(more={'files."b/weights.data"': "0" * 64, "embed.text.parity": 0.5})
    pack = load_pack(directory)
    told = {name: getattr(pack, name) for name in Manifest.__struct_fields__}
    manifest = Manifest(**(told | {"summary": 'a "quote", a \\, é, \x7f\n'}))
    (directory / "pack.toml").write_text(to_toml(manifest), "utf-8")
    assert load_pack(directory) == pack_of(manifest, directory)
    assert load_pack(directory).checksums()["b/weights.data"] == "0" * 64
    assert load_pack(directory).kinds == ("embed",)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(PackBroken, match=r"pack\.toml: cannot be read: No such file"):
        load_pack(tmp_path)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"[[[", b""])
def test_bytes_that_are_no_manifest_are_refused(tmp_path, content):
    (tmp_path / "pack.toml").write_bytes(content)
    with pytest.raises(PackBroken, match=r"pack\.toml: "):
        load_pack(tmp_path)


def test_a_whole_pack_is_read_as_it_stands(pack_at):
    directory = pack_at(more={"demo": True})
    pack = load_pack(directory)
    assert (pack.name, pack.demo, pack.directory) == ("tiny", True, directory)
    embed = pack.require_embed()
    assert (embed.space, embed.dimensions) == ("tiny-1", 4)
    assert embed.image.buckets == (1, 4)
    assert pack.path(embed.text.file) == directory / "text.onnx"
    verify(pack)


def test_a_pack_without_an_embed_section_loads_but_cannot_search(pack_at):
    pack = load_pack(pack_at(omit=("embed.",)))
    verify(pack)
    with pytest.raises(PackBroken, match=r"no \[embed\] section"):
        pack.require_embed()


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx", "tokenizer.json"])
def test_an_altered_file_is_named_with_both_checksums(pack_at, file):
    pack = load_pack(pack_at())
    path = pack.path(file)
    original = path.read_bytes()
    path.write_bytes(bytes([original[0] ^ 1]) + original[1:])
    with pytest.raises(PackBroken) as caught:
        verify(pack)
    assert caught.value.file == path
    assert pack.checksums()[file] in str(caught.value)


def test_a_short_file_is_named_with_its_length(pack_at):
    pack = load_pack(pack_at())
    path = pack.path("text.onnx")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(PackBroken, match=r"text\.onnx: expected sha256 .* in 100 bytes"):
        verify(pack)


@pytest.mark.parametrize("instead", [None, Path.mkdir])
def test_a_missing_file_is_named_with_what_was_expected(pack_at, instead):
    pack = load_pack(pack_at())
    path = pack.path("image.onnx")
    path.unlink()
    if instead:
        instead(path)
    with pytest.raises(PackBroken, match=r"image\.onnx: expected a file with sha256 [0-9a-f]{64}"):
        verify(pack)


def test_a_pack_that_is_nowhere_is_reported_with_those_that_are_there(pack_at):
    folder = pack_at().parent
    with pytest.raises(PackNotFound, match=r"no pack 'large' in .*; there are: tiny"):
        find_pack("large", [folder])


@pytest.mark.parametrize("name", ["", ".", "..", "../packs/tiny", "/", "Tiny", "tiny\0"])
def test_a_name_cannot_lead_out_of_the_searched_folders(pack_at, name):
    with pytest.raises(PackNotFound):
        find_pack(name, [pack_at().parent])


def test_the_first_folder_that_has_the_pack_wins(pack_at, tmp_path):
    folder = pack_at().parent
    (tmp_path / "empty").mkdir()
    pack = find_pack("tiny", [tmp_path / "absent", tmp_path / "empty", folder, BUILT_IN])
    assert pack.directory == folder / "tiny"


def test_a_pack_under_another_name_is_refused(pack_at):
    folder = pack_at(more={"name": "other"}).parent
    with pytest.raises(PackBroken, match=r"names itself 'other'.*folder 'tiny'"):
        find_pack("tiny", [folder])
