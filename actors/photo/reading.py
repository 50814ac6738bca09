"""One file's untrusted bytes to facts and thumbnails: all that a decode process does.

    bytes ─► original ─► raster, sensor ─► pixels ─► thumbnails, spool
             (digest)       └─► metadata ─► facts

Blocking, and without side effects but the thumbnails; knows no process, queue or database.
One call at a time per process does any good (`raster.pillow_alone`); more processes scale.
Whatever the bytes are, the outcome is a `Photo` or one of the errors in `errors`.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from actors.photo import pixels
from actors.photo.errors import BadPhoto, Busy, Unread, while_writing
from actors.photo.facts import Facts
from actors.photo.limits import DEFAULT_LIMITS, Limits
from actors.photo.original import Original, read_original
from actors.photo.raster import BLOCKS_AFTER_PIXELS, LABELS, Picture, pillow_alone, read_picture
from actors.photo.sensor import read_raw
from actors.photo.spool import LEAST, SIDE, write_spool
from actors.photo.thumbnails import LARGE, find_pair, write_pair


class Photo(NamedTuple):
    """What became of one file."""

    digest: bytes  #: BLAKE3 of the original, 32 bytes
    facts: Facts
    thumb_256_bytes: int  #: size of each thumbnail file
    thumb_1024_bytes: int


def read_photo(path: bytes | str, derived: Path, *, limits: Limits = DEFAULT_LIMITS) -> Photo:
    """Read the file at *path* and leave its thumbnails below *derived*.

    Raises:
        NotAPhoto: the bytes are something else.
        BadPhoto: it cannot be decoded, or not within *limits*.
        Busy: memory is short, or the file is being written.
        HostAway: the disk or share does not give the file, or takes no thumbnails.
        NoRoom: the disk of the thumbnails is full.
    """
    return decode_photo(read_original(path, limits), derived, limits=limits)


def decode_photo(
    original: Original,
    derived: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    spool: Literal["", "new", "lost"] = "",
) -> Photo:
    """The second half of `read_photo`, which alone is risky: reading bytes never is.

    A pair of thumbnails that exists is kept, and then only what the file says is read, without
    its pixels: a copied file or one with new permissions costs a hash.

    With *spool* the picture for faces is left too: beside new thumbnails, or in any case because
    it was lost.
    """
    pair = find_pair(derived, original.digest)
    spooling = spool == "lost" or (spool == "new" and pair is None)
    with_pixels = pair is None or spooling or original.container in BLOCKS_AFTER_PIXELS
    side, least = (SIDE, LEAST) if spooling else (LARGE, LARGE)
    try:
        with pillow_alone(limits):
            picture = _decode(original, limits, side, least, with_pixels=with_pixels)
    except Unread:
        raise
    except MemoryError as error:
        raise Busy("not enough memory to decode it now") from error
    except Exception as error:
        label = LABELS[original.container]
        raise BadPhoto(f"damaged: the {label} cannot be decoded") from error
    try:
        if spooling and picture.image is not None:
            write_spool(derived, original.digest, picture.image)
        if pair is None:
            assert picture.image is not None
            image = pixels.shrink(picture.image, LARGE)
            pair = write_pair(derived, original.digest, image, damaged=picture.damaged)
    except OSError as error:
        raise while_writing(error) from error
    return Photo(original.digest, _facts(original.container, picture), pair.small, pair.large)


def _decode(
    original: Original, limits: Limits, side: int, least: int, *, with_pixels: bool
) -> Picture:
    if original.container == "raw":
        return read_raw(original.data, side=side, limits=limits, with_pixels=with_pixels)
    return read_picture(
        original.container,
        original.data,
        side=side,
        least=least,
        limits=limits,
        with_pixels=with_pixels,
    )


def _facts(container: str, picture: Picture) -> Facts:
    taken, place = picture.said.taken, picture.said.place
    return Facts(
        format=container,
        width=picture.width,
        height=picture.height,
        orientation=picture.orientation,
        taken_at=taken.iso() if taken else None,
        taken_offset=taken.offset if taken else None,
        make=picture.said.make,
        model=picture.said.model,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        altitude=place.altitude if place else None,
        damaged=picture.damaged,
    )
