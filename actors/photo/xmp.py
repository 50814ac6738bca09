"""The few properties we need of an XMP packet.

Found by pattern, not by an XML parser: packets come cut, doubled and with wrong encodings,
and a parser of untrusted XML brings entity bombs for six properties.
"""

import re
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import unescape

DATE_ORIGINAL: Final = "exif:DateTimeOriginal"
DATE_CREATED: Final = "photoshop:DateCreated"
CREATE_DATE: Final = "xmp:CreateDate"
MAKE: Final = "tiff:Make"
MODEL: Final = "tiff:Model"
LATITUDE: Final = "exif:GPSLatitude"
LONGITUDE: Final = "exif:GPSLongitude"

#: as an attribute ="…" or as an element >…<
_PROPERTY = re.compile(
    rb"\b(exif:DateTimeOriginal|photoshop:DateCreated|x[am]p:CreateDate|tiff:Make|tiff:Model"
    rb"|exif:GPSLatitude|exif:GPSLongitude)"
    rb"(?:\s{0,9}=\s{0,9}(?:\"([^\"<]{1,100})\"|'([^'<]{1,100})')|>([^<>]{1,100})<)"
)
#: what is looked at: longer packets hold pictures and edit histories behind the properties
_LOOKED_AT = 1024 * 1024


def read_properties(packet: bytes) -> Mapping[str, str]:
    """Text of each property found, by its usual prefix; the first of a repeated one counts."""
    found: dict[str, str] = {}
    for hit in _PROPERTY.finditer(packet[:_LOOKED_AT]):
        name = hit[1].decode().replace("xap:", "xmp:")
        value = (hit[2] or hit[3] or hit[4]).decode("utf-8", "replace")
        found.setdefault(name, unescape(value, {"&quot;": '"', "&apos;": "'"}).strip())
    return found


def read_degrees(text: str, positive: str, negative: str) -> float | None:
    """Degrees of a coordinate such as "41,12.5N" or "41,12,30N"; None for anything else."""
    sign = {positive: 1, negative: -1}.get(text[-1:].upper())
    parts = text[:-1].split(",")
    if sign is None or len(parts) > 3:
        return None
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    return sign * sum(number / 60.0**power for power, number in enumerate(numbers))
