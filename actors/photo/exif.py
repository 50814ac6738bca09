"""What EXIF says, read the way cameras mean it.

Pure.  Takes the directories of `tiff`, gives dates, place, maker and orientation.  The
oddities it knows, each seen in the wild:

- an unset clock writes zeros, blanks or colons only (FujiFilm DX-5, Nikon E885, Olympus C750UZ);
- a receiver without a fix writes 0/0 for all three parts, or zeros with letters, which lies in
  the Gulf of Guinea (Samsung Galaxy S); Nikon writes 0/0 for the seconds only, because the
  minutes already hold them as a fraction;
- make and model are fixed-width fields with garbage behind the first NUL (Trust, Polaroid);
- orientation 0 is written by Huawei and by digiKam and means "as it is".
"""

from collections.abc import Sequence
from typing import NamedTuple

from actors.photo.dates import Moment, read_moment
from actors.photo.tiff import Directories, Tags, Value

#: tags of date, fraction of a second and offset, by their part in the photo's life
_ORIGINAL = (0x9003, 0x9291, 0x9011)
_DIGITIZED = (0x9004, 0x9292, 0x9012)
_CHANGED = (0x0132, 0x9290, 0x9010)
_TIME_ZONE_OFFSET = 0x882A
_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112

#: longest maker or model worth keeping; longer ones are garbage without a NUL
_LONGEST_NAME = 100

#: metres; photos are taken in orbit, but nothing is taken at 4,294,967,295
_HIGHEST = 1_000_000


class Place(NamedTuple):
    """Degrees, north and east positive; metres above sea level."""

    latitude: float
    longitude: float
    altitude: float | None = None


def read_text(value: Value | None) -> str | None:
    """Printable text up to the first NUL, None where that is empty."""
    if not isinstance(value, bytes):
        return None
    raw = value.partition(b"\0")[0]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # EXIF says ASCII; what is neither is most often this
    return "".join(filter(str.isprintable, text)).strip()[:_LONGEST_NAME].strip() or None


def read_orientation(directories: Directories) -> int:
    """The orientation as stored, 1..8; 1 where nothing or nonsense is said."""
    value = directories.main.get(_ORIENTATION)
    said = value[0] if value else 1
    return said if isinstance(said, int) and 1 <= said <= 8 else 1


def read_camera(directories: Directories) -> tuple[str | None, str | None]:
    """Make and model."""
    return read_text(directories.main.get(_MAKE)), read_text(directories.main.get(_MODEL))


def read_taken(directories: Directories) -> Moment | None:
    """When the exposure was made: the original date, else that of digitising."""
    return _moment(directories, _ORIGINAL) or _moment(directories, _DIGITIZED)


def read_changed(directories: Directories) -> Moment | None:
    """When the file was written, which for an unedited photo is when it was taken."""
    return _moment(directories, _CHANGED)


def _moment(directories: Directories, tags: tuple[int, int, int]) -> Moment | None:
    def text(tag: int) -> str:
        # TIFF/EP, and with it some DNG, has the EXIF dates in the main directory.
        return read_text(directories.exif.get(tag) or directories.main.get(tag)) or ""

    date, fraction, offset = map(text, tags)
    moment = read_moment(date, fraction=fraction, offset=offset)
    if moment is not None and moment.offset is None and tags is _ORIGINAL:
        # TIFF/EP: whole hours, before EXIF 2.31 knew offsets.
        hours = directories.exif.get(_TIME_ZONE_OFFSET)
        if hours and isinstance(hours[0], int) and -12 <= hours[0] <= 14:
            return moment._replace(offset=hours[0] * 60)
    return moment


def read_place(directories: Directories) -> Place | None:
    """Where the photo was taken; None where either coordinate is missing or unset."""
    gps = directories.gps
    return make_place(
        _degrees(gps, reference=1, parts=2, positive="N", negative="S"),
        _degrees(gps, reference=3, parts=4, positive="E", negative="W"),
        _altitude(gps),
    )


def make_place(
    latitude: float | None, longitude: float | None, altitude: float | None = None
) -> Place | None:
    """A place on Earth, or None: out of range, or (0, 0), which no receiver ever measured."""
    if latitude is None or longitude is None:
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # false for NaN too
        return None
    if latitude == longitude == 0:
        return None
    # 1 cm; what is behind it is noise of the division by 3600
    return Place(round(latitude, 7), round(longitude, 7), altitude)


def _degrees(
    gps: Tags, *, reference: int, parts: int, positive: str, negative: str
) -> float | None:
    letter = (read_text(gps.get(reference)) or "")[:1].upper()
    sign = {positive: 1, negative: -1}.get(letter)
    if sign is None:
        return None  # which hemisphere would be a guess
    total = 0.0
    pairs: Sequence[object] = gps.get(parts) or ()
    for power, pair in enumerate(pairs[:3]):
        if not isinstance(pair, tuple):
            return None
        numerator, denominator = pair
        if denominator == 0:
            if power == 0:
                return None
            break
        total += numerator / denominator / 60**power
    return sign * total if pairs else None


def _altitude(gps: Tags) -> float | None:
    value = gps.get(6)
    if not value or not isinstance(value[0], tuple) or value[0][1] == 0:
        return None
    metres = value[0][0] / value[0][1]
    below = gps.get(5) in (b"\x01", b"\x03", b"1", b"1\0")  # 3: below the ellipsoid, EXIF 3.0
    return round(-metres if below else metres, 3) if abs(metres) < _HIGHEST else None
