"""Image bytes to a square RGB array, whatever the file's mode, size and orientation."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from stargan_ray.data.image_headers import Header, read_header

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # no other decoder of Pillow ever sees the bytes
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_EIGHTH = 8  # the most by which a JPEG is made smaller while it is decoded
_ORDINARY_PIXELS = 1 << 26  # larger images always meet Pillow's own limits

Verify = Literal["decode", "header"]


class UndecodableError(ValueError):
    """Bytes that are no usable image; ``reason`` is what such files are counted under."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def decode(data: bytes, size: int, out: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
    """Decode, turn upright, crop the central square and resize with antialiasing.

    Grey, palette and CMYK become RGB; transparent parts are laid on white; 16-bit grey keeps its range.

    Args:
        data: A JPEG, PNG, WebP or BMP file.
        size: Side of the result in pixels.
        out: Where to put it; None = into a new array.

    Returns:
        (3, size, size) uint8, RGB.

    Raises:
        UndecodableError: If the bytes are no such file or a damaged one.
    """
    image = _open(data)
    try:
        # JPEG can skip most of the work for a small result; twice the side is left for the antialiasing.
        image.draft(None, (2 * size, 2 * size))
        image = _rgb(_upright(image))
        if image.size != (size, size):
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
        out = np.empty((3, size, size), np.uint8) if out is None else out
        out[:] = np.frombuffer(image.tobytes(), np.uint8).reshape(size, size, 3).transpose(2, 0, 1)
        return out
    except Exception as error:  # Pillow's decoders answer damaged bytes with almost any exception
        raise UndecodableError("unreadable", str(error)) from error


def check(data: bytes, max_pixels: int, verify: Verify = "decode") -> None:
    """Prove that :func:`decode` will take the bytes, by reading every one of them as the decoder does.

    With ``header`` a JPEG or PNG of the ordinary build is taken for what it says of itself: its size, that it has its
    end and, in a PNG, that every checksum fits. What that cannot see is a JPEG whose scans were changed while its end
    stayed (of which ``decode`` too sees only what breaks the decoder), or a PNG that was written wrong. Whatever else
    there is, and every file without its end, is decoded all the same: ``header`` takes all that ``decode`` takes, and
    gives the same reasons.

    Args:
        data: The whole file.
        max_pixels: Largest width × height; larger images are refused before they are decoded.
        verify: How much to prove.

    Raises:
        UndecodableError: With reason ``empty``, ``not an image``, ``oversized`` or ``unreadable``.
    """
    header = read_header(data)
    if header is not None and header.width * header.height <= min(max_pixels, _ORDINARY_PIXELS):
        if verify == "header" and header.whole and (header.plain or header.format == "JPEG"):
            return
        if header.format == "JPEG" and header.plain and _coefficients_decode(data, header):
            return
    _check_all(data, max_pixels, checksums=header is None or not header.whole)


def _coefficients_decode(data: bytes, header: Header) -> bool:
    """Whether a plain JPEG decodes: what :func:`_check_all` would do, without the half of it that looks for metadata.

    False is no verdict: that is left to the ordinary way.
    """
    mode = {1: "L", 3: "RGB"}.get(header.components)
    if mode is None or min(header.width, header.height) < _EIGHTH:
        return False
    reduced = -(-header.width // _EIGHTH), -(-header.height // _EIGHTH)
    try:
        Image.frombytes(mode, reduced, data, "jpeg", mode, "", _EIGHTH, 0)
    except Exception:  # as in decode
        return False
    return True


def _check_all(data: bytes, max_pixels: int, *, checksums: bool) -> None:
    if not data:
        raise UndecodableError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit decides
        image = _open(data)
    if image.width * image.height > max_pixels:
        raise UndecodableError("oversized", f"{image.width} × {image.height} pixels")
    try:
        if image.format == "PNG" and checksums:
            image.verify()  # its checksums, which decoding does not look at
            image = _open(data)
        # A JPEG's errors are all in its coefficients, which are still read to the last: at an eighth of its side the
        # arithmetic behind them, which cannot fail, is saved.
        image.draft(None, (1, 1))
        _rgb(_upright(image))
    except UndecodableError:
        raise
    except Exception as error:  # as in decode
        raise UndecodableError("unreadable", str(error)) from error


def crop(data: bytes, box: tuple[int, int, int, int]) -> bytes:
    """A part of an image as a PNG, which loses nothing of it.

    Args:
        data: An image that :func:`check` has taken.
        box: Left, top, width and height in pixels of the upright image; what reaches over its edge is cut off.

    Raises:
        UndecodableError: With reason ``no face box`` if nothing of the image lies in the box.
    """
    image = whole(data).image
    left, top, width, height = box
    inside = (max(left, 0), max(top, 0), min(left + width, image.width), min(top + height, image.height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise UndecodableError("no face box", f"{box} of {image.width} × {image.height} pixels")
    out = io.BytesIO()
    image.crop(inside).save(out, "PNG")
    return out.getvalue()


def brightness(data: bytes) -> float:
    """The mean grey value of an image that :func:`check` has taken, in [0, 255]."""
    return float(np.asarray(whole(data).image.convert("L")).mean())


@dataclass(frozen=True)
class Whole:
    """An image as people see it, and what the file says of itself."""

    image: Image.Image  # upright RGB of the file's own size
    mode: str  # of the file: L is grey, RGB, RGBA, CMYK, P a palette, …
    format: str  # one of FORMATS


def whole(data: bytes) -> Whole:
    """Decode in full, neither cropped nor resized, with the same colours as :func:`decode`.

    Raises:
        UndecodableError: With reason ``empty``, ``not an image``, ``oversized`` or ``unreadable``.
    """
    if not data:
        raise UndecodableError("empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ingest has had its limit already
        image = _open(data)
    mode, kind = image.mode, image.format or ""
    try:
        return Whole(_rgb(_upright(image)), mode, kind)
    except Exception as error:  # as in decode
        raise UndecodableError("unreadable", str(error)) from error


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UndecodableError("oversized", str(error)) from error
    except UnidentifiedImageError as error:
        raise UndecodableError("not an image", f"none of {', '.join(FORMATS)}") from error
    except Exception as error:  # a damaged header
        raise UndecodableError("unreadable", str(error)) from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; a damaged EXIF block does not cost the image."""
    if "exif" not in image.info:  # asking Pillow for it is the slow part
        return image
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except Exception:  # the block is free text to Pillow's parser
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode in _WIDE:
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        span = np.ptp(values) or 1.0
        return Image.fromarray(((values - values.min()) * (255 / span)).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
