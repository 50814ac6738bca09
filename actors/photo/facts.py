"""What a picture says about itself: when, where, with what, how large."""

import msgspec


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts of one picture, as read from its bytes.  `None` is "not said", never a guess."""

    #: container as sniffed from the bytes: "jpeg", "png", "webp", …
    format: str
    #: upright size in pixels, that is after the orientation was applied
    width: int
    height: int
    #: EXIF orientation as stored, 1..8; 1 where nothing or nonsense is said
    orientation: int = 1
    #: local wall-clock time of the exposure, ISO 8601 without zone: "2019-03-21T11:04:22.348"
    taken_at: str | None = None
    #: offset of `taken_at` from UTC in minutes
    taken_offset: int | None = None
    make: str | None = None
    model: str | None = None
    #: degrees, north and east positive; both or neither
    latitude: float | None = None
    longitude: float | None = None
    #: metres above sea level
    altitude: float | None = None
    #: a part of the picture is missing or wrong; what was left is shown
    damaged: bool = False
