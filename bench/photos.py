"""Photographs that no camera took, at the cost of real ones: size, detail, EXIF, JPEG.

A picture is a gradient, clouds of noise in octaves (each twice as fine and half as strong,
as in nature) and a camera's grain; what a JPEG decoder pays for is the detail, so the sum is
tuned to the bytes a phone writes: about 0.3 a pixel.  Contents differ in a comment segment only,
which costs a decoder nothing, so thousands of them are made of a few pictures.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

QUALITY = 92
#: strength of the coarsest octave and of the grain, in grey levels
COARSE = 45.0
GRAIN = 6.0
OCTAVES = 10


def photograph(random: np.random.Generator, width: int, height: int) -> bytes:
    """One JPEG of *width* x *height* pixels."""
    ramp = np.linspace(60, 190, height, dtype=np.float32)[:, None]
    grey = np.broadcast_to(ramp, (height, width)).copy()
    for octave in range(OCTAVES):
        cells = (height * 2**octave // 256 + 2, width * 2**octave // 256 + 2)
        noise = random.standard_normal(cells, np.float32) * (COARSE / 1.6**octave)
        grey += np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
    planes = [grey + tint for tint in (6.0, 0.0, -9.0)]
    rgb = np.stack(planes, axis=2)
    rgb += random.standard_normal(rgb.shape, np.float32) * GRAIN
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Bench", "Twelve", 1
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    file = io.BytesIO()
    picture = Image.fromarray(rgb.clip(0, 255).astype(np.uint8))
    picture.save(file, "JPEG", quality=QUALITY, exif=exif)
    return file.getvalue()


def contents(pictures: list[bytes], count: int) -> Iterator[bytes]:
    """*count* different contents that look like *pictures*, in turn."""
    for number in range(count):
        picture = pictures[number % len(pictures)]
        comment = f"number {number}".encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        end = 4 + int.from_bytes(picture[4:6], "big")  # of the first segment
        yield picture[:end] + segment + picture[end:]


def write(pictures: list[bytes], count: int, folder: Path) -> None:
    """*count* contents as files of the new *folder*."""
    folder.mkdir(parents=True)
    for number, content in enumerate(contents(pictures, count)):
        (folder / f"{number:05}.jpg").write_bytes(content)
