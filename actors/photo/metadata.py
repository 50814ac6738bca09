"""What a file says about its picture, wherever the format keeps it.

Pure.  `Blocks` are the raw blocks a decoder found; `understand` weighs them.  EXIF wins over
XMP and IPTC, because cameras write EXIF and programs the others; but the date of EXIF that a
program changes with every save (DateTime) comes last.
"""

from typing import NamedTuple

from actors.photo import exif, iptc, xmp
from actors.photo.dates import Moment, read_moment
from actors.photo.tiff import NOTHING, Directories


class Blocks(NamedTuple):
    """Metadata as found in a container, not yet understood."""

    directories: Directories = NOTHING
    xmp: bytes = b""
    iptc: bytes = b""
    #: a date kept outside the three standards, as text
    date: str = ""


class Said(NamedTuple):
    """What the metadata say; None is "not said"."""

    taken: Moment | None
    make: str | None
    model: str | None
    place: exif.Place | None

    def or_else(self, other: "Said") -> "Said":
        """This, with the gaps filled from *other*."""
        return Said(
            self.taken or other.taken,
            self.make or other.make,
            self.model or other.model,
            self.place or other.place,
        )


def understand(blocks: Blocks) -> Said:
    properties = xmp.read_properties(blocks.xmp) if blocks.xmp else {}
    make, model = exif.read_camera(blocks.directories)
    return Said(
        taken=(
            exif.read_taken(blocks.directories)
            or read_moment(properties.get(xmp.DATE_ORIGINAL, ""))
            or read_moment(properties.get(xmp.DATE_CREATED, ""))
            or read_moment(iptc.read_created(blocks.iptc))
            or read_moment(blocks.date)
            or read_moment(properties.get(xmp.CREATE_DATE, ""))
            or exif.read_changed(blocks.directories)
        ),
        make=make or properties.get(xmp.MAKE) or None,
        model=model or properties.get(xmp.MODEL) or None,
        place=(
            exif.read_place(blocks.directories)
            or exif.make_place(
                xmp.read_degrees(properties.get(xmp.LATITUDE, ""), "N", "S"),
                xmp.read_degrees(properties.get(xmp.LONGITUDE, ""), "E", "W"),
            )
        ),
    )
