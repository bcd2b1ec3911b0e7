"""What a JPEG or PNG says of itself, read without a decoder: its size, and whether it has its end.

Only files of the ordinary build are told of; None means that nothing is known, not that a file is bad.
"""

from __future__ import annotations

import zlib
from struct import Struct, error, unpack_from
from typing import NamedTuple

_SEGMENT = Struct(">BBH")  # 0xFF, marker, length with itself
_FRAME = Struct(">BHHB")  # bits, height, width, components
_CHUNK = Struct(">I4s")  # length, name
_IHDR = Struct(">IIBBBBB")  # width, height, bits, colour type, compression, filter, interlace
_END = b"\xff\xd9"
_COLOUR_APPS = {0xE0, 0xEE}  # JFIF and Adobe
_QUIET_JPEG = {0xC4, 0xDD, 0xFE}  # Huffman tables, restart interval, comment: of any content
_QUIET_PNG = {b"PLTE", b"IDAT", b"bKGD", b"cHRM", b"gAMA", b"pHYs", b"sBIT", b"sRGB", b"tIME"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
_PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_PADDING = b"\0\t\n\r "  # what programs and disks leave behind the end of a JPEG


class Header(NamedTuple):
    """A file of the ordinary build."""

    format: str  # JPEG or PNG
    width: int  # pixels, 1 or more
    height: int
    components: int  # of a JPEG: 1, 3 or 4; 0 for a PNG
    whole: bool  # it has its end, and every chunk of a PNG its checksum
    plain: bool  # it holds little but the picture, so that no parser of metadata can fail on it


def read_header(data: bytes) -> Header | None:
    """The header of a JPEG of 8 bits (baseline, extended or progressive) or of a PNG, or None.

    A JPEG is ``whole`` if its last bytes, but for padding, are the marker of its end: one that was cut short is not.
    A PNG is ``whole`` if its chunks follow each other up to IEND, and each has its checksum.

    Args:
        data: The whole file.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
    except (error, IndexError):  # it ends within its header
        pass
    return None


def _jpeg(data: bytes) -> Header | None:
    """Walk from segment to segment up to the first scan."""
    frame, plain, place, segment = None, True, 2, _SEGMENT.unpack_from
    while True:
        start, marker, length = segment(data, place)
        if start != 0xFF or length < 2:
            return None
        if marker in _QUIET_JPEG:
            pass
        elif marker == 0xDB:
            if not _whole_tables(data, place + 4, length - 2):
                return None
        elif 0xE0 <= marker <= 0xEF:
            if marker not in _COLOUR_APPS:  # what cameras and editors tell
                plain = False
            elif length < 14:  # these are read at fixed places
                return None
        elif 0xC0 <= marker <= 0xC2:
            if frame is not None:
                return None
            frame = bits, height, width, components = _FRAME.unpack_from(data, place + 4)
            if bits != 8 or not height or not width or components not in (1, 3, 4) or length != 8 + 3 * components:
                return None
        elif marker == 0xDA:
            break
        else:
            return None
        place += 2 + length
    if frame is None or place + 2 + length > len(data):
        return None
    whole = data.endswith(_END) or data.rstrip(_PADDING).endswith(_END)
    return Header("JPEG", width, height, components, whole, plain)


def _whole_tables(data: bytes, place: int, length: int) -> bool:
    """Whether a segment of quantisation tables holds whole ones alone."""
    end = place + length
    while place < end:
        place += 65 if data[place] < 16 else 129
    return place == end


def _png(data: bytes) -> Header | None:
    """Walk from chunk to chunk up to IEND."""
    width, height, bits, colour, compression, filtering, interlace = _IHDR.unpack_from(data, 16)
    if data[8:16] != b"\0\0\0\rIHDR" or bits not in _PNG_BITS.get(colour, ()) or not width or not height:
        return None
    if compression or filtering or interlace > 1:
        return None
    view, place, plain, pixels = memoryview(data), 8, True, False
    while True:
        length, name = _CHUNK.unpack_from(data, place)
        end = place + 8 + length
        if name in _ANIMATION or not name.isalpha():
            return None
        if zlib.crc32(view[place + 4 : end]) != unpack_from(">I", data, end)[0]:
            return None
        if name == b"IEND":
            break
        plain = plain and (name in _QUIET_PNG or place == 8)
        pixels = pixels or name == b"IDAT"
        place = end + 4
    return Header("PNG", width, height, 0, pixels, plain)
