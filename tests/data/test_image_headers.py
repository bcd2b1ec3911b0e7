"""What the header of a JPEG or PNG tells, and that a check that uses it gives the verdicts of one that does not.

pytest tests/data/test_image_headers.py
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from stargan_ray.data.decode import UndecodableError, check
from stargan_ray.data.image_headers import read_header

EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
JPEGS: dict[str, tuple[str, dict[str, Any]]] = {
    "grey": ("L", {}),
    "grey, progressive": ("L", {"progressive": True}),
    "colour": ("RGB", {"subsampling": 2, "comment": b"hello", "dpi": (72, 72)}),
    "colour, progressive": ("RGB", {"progressive": True}),
    "stored as RGB": ("RGB", {"keep_rgb": True}),
    "with restart markers": ("RGB", {"restart_marker_blocks": 4}),
    "four inks": ("CMYK", {}),
    "from a camera": ("RGB", {"exif": EXIF, "icc_profile": b"x" * 200}),
}
PNGS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{mode} as PNG": (mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "P with transparency": ("P", {"transparency": 3}),
    "PNG with a profile": ("RGB", {"icc_profile": b"x" * 100, "dpi": (72, 72)}),
}
KINDS = JPEGS | PNGS
MOST = 1_000_000  # pixels


def image(kind: str, size: tuple[int, int] = (61, 75), noise: bool = False) -> bytes:
    mode, options = KINDS[kind]
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (*size[::-1], 3) if noise else (9, 7, 3), dtype=np.uint8)
    drawn = Image.fromarray(small).resize(size)
    out = io.BytesIO()
    grey = drawn.convert("L").convert("I").convert("I;16")
    (grey if mode == "I;16" else drawn.convert(mode)).save(out, "PNG" if kind in PNGS else "JPEG", **options)
    return out.getvalue()


def reference(data: bytes) -> None:
    """The check by Pillow alone: its checksums, then a decode, which test_decode.py compares with one in full."""
    if not data:
        raise UndecodableError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            opened = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "BMP"))
        except Image.DecompressionBombError:
            raise UndecodableError("oversized") from None
        except Image.UnidentifiedImageError:
            raise UndecodableError("not an image") from None
        except Exception:
            raise UndecodableError("unreadable") from None
        if opened.width * opened.height > MOST:
            raise UndecodableError("oversized")
        try:
            if opened.format == "PNG":
                opened.verify()
                opened = Image.open(io.BytesIO(data), formats=("PNG",))
            opened.draft(None, (1, 1))
            ImageOps.exif_transpose(opened).convert("RGB")
        except Exception:
            raise UndecodableError("unreadable") from None


def verdict(function: Any, *arguments: Any) -> str:
    try:
        function(*arguments)
    except UndecodableError as error:
        return error.reason
    return "taken"


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, with bytes changed (anywhere or in the header), taken out or put in; of a PNG with new checksums."""
    spoilt = bytearray(data)
    kind = rng.integers(5)
    if kind == 0:
        return bytes(spoilt[: rng.integers(len(spoilt))])
    if kind <= 2:
        for place in rng.integers(len(spoilt) if kind == 1 else min(len(spoilt), 700), size=rng.choice((1, 3, 20))):
            spoilt[place] = rng.choice((0, 1, 8, 0xC0, 0xD9, 0xDA, 0xE0, 0xFF, rng.integers(256)))
    elif kind == 3:
        start, end = sorted(rng.integers(len(spoilt), size=2))
        del spoilt[start:end]
    else:
        place = rng.integers(len(spoilt))
        spoilt[place:place] = rng.bytes(rng.integers(1, 30))
    return refitted(spoilt) if spoilt[:4] == b"\x89PNG" and rng.random() < 0.7 else bytes(spoilt)


def refitted(data: bytearray) -> bytes:
    place = 8
    while place + 12 <= len(data):
        end = place + 8 + struct.unpack_from(">I", data, place)[0]
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_the_header_tells_the_size_and_a_cut_file_has_no_end(kind: str) -> None:
    data = image(kind)
    header = read_header(data)
    assert header is not None
    assert (header.format, header.width, header.height) == ("PNG" if kind in PNGS else "JPEG", 61, 75)
    assert header.whole
    assert header.plain == (kind not in ("from a camera", "P with transparency", "PNG with a profile"))
    for end in range(len(data) - 1):
        cut = read_header(data[:end])
        assert cut is None or not cut.whole, end
    padded = read_header(data + b"\0\0\n")
    assert padded is not None
    assert padded.whole


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("size", [(61, 75), (7, 9), (8, 8), (200, 180)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_verdict_is_that_of_pillow_alone(kind: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(size))
    data = image(kind, size, noise=size == (200, 180))  # the largest is read in several pieces by Pillow
    assert verdict(check, data, MOST) == verdict(check, data, MOST, "header") == "taken"
    seen: Counter[str] = Counter()
    for _ in range(150 if size == (61, 75) else 40):
        spoilt = damaged(data, rng)
        expected = verdict(reference, spoilt)
        assert verdict(check, spoilt, MOST) == expected
        assert verdict(check, spoilt, MOST, "header") in (expected, "taken")  # and never refuses more
        seen[expected] += 1
    assert seen["unreadable"] > 5


@pytest.mark.parametrize("verify", ["decode", "header"])
def test_what_a_header_is_enough_to_refuse(verify: str) -> None:
    for kind in KINDS:
        data = image(kind)
        for end in (1, 10, 100, len(data) // 2, len(data) - 14):
            assert verdict(check, data[:end], MOST, verify) in ("not an image", "unreadable"), (kind, end)
        assert verdict(check, data, 61 * 75 - 1, verify) == "oversized"
        assert verdict(check, data[: len(data) // 2] + bytes(len(data) // 2), MOST, verify) == "unreadable" or (
            kind in JPEGS and verdict(reference, data[: len(data) // 2] + bytes(len(data) // 2)) == "taken"
        )
    bomb = bytearray(image("L as PNG"))
    struct.pack_into(">II", bomb, 16, 60_000, 60_000)
    assert verdict(check, refitted(bomb), 1 << 40, verify) == "oversized"
    assert verdict(check, b"", MOST, verify) == "empty"
    assert verdict(check, b"GIF89a no image", MOST, verify) == "not an image"


def test_what_a_header_misses_and_what_not() -> None:
    spoilt = bytearray(image("colour, progressive"))
    spoilt[-400:-2] = b"\xff\xc4" * 199  # no coefficients and no tables, but its end
    assert verdict(check, bytes(spoilt), MOST) == "unreadable"
    assert verdict(check, bytes(spoilt), MOST, "header") == "taken"
    changed = bytearray(image("RGB as PNG"))
    changed[-40] ^= 1  # a PNG has checksums
    assert verdict(check, bytes(changed), MOST, "header") == "unreadable"


@pytest.mark.parametrize(
    "segment",
    [
        b"\xff\xe0\x00\x07JFIF\0",  # too short for what is read of it
        b"\xff\xee\x00\x07Adobe",
        b"\xff\xdb\x00\x05\x00\x01\x02",  # no whole table
        b"\xff\xdb\x00\x02",
        b"\xff\xfe\x00\x01",  # shorter than its own length
        b"\xff\xfe\x00\x00",
        b"\xff\xff\xff",  # padding
        b"\0\0\0",  # nothing
        b"\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00",  # another frame
        b"\xff\xc0\x00\x0b\x0c\x00\x10\x00\x10\x01\x01\x11\x00",  # of 12 bits
        b"\xff\xc0\x00\x0a\x08\x00\x10\x00\x10\x01\x01\x11",  # that lacks a byte
        b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00",  # a scan before the frame
        b"\xff\xd9",  # the end before the picture
    ],
)
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_odd_segments_have_the_verdict_of_pillow_alone(kind: str, segment: bytes) -> None:
    data = image(kind)
    for place in (
        2,
        data.index(b"\xff\xdb"),
        data.index(b"\xff\xc0"),
        data.index(b"\xff\xc4"),
        data.index(b"\xff\xda"),
    ):
        odd = data[:place] + segment + data[place:]
        expected = verdict(reference, odd)
        assert verdict(check, odd, MOST) == expected
        scanned = segment.startswith(b"\xff\xda")  # a scan without its tables is seen by a decoder alone
        assert verdict(check, odd, MOST, "header") in ((expected, "taken") if scanned else (expected,))
