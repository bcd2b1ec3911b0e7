"""Where an image shows a face: dlib's detector of frontal faces, whose weights are part of dlib (extra ``judge``)."""

from __future__ import annotations

import functools
import io
import math
from typing import Any

import numpy as np
from PIL import Image

from stargan_ray.data.decode import whole
from stargan_ray.data.dlib_files import LANDMARKS, require_dlib, weights

_LEAST, _MOST = 256, 640  # pixels of the longer side at which it looks: its faces have 80 or more
# Of the detector's score. At its own 0 it finds 77 % of FER2013's faces of 48 pixels, here 84 %, and 99.5 % of LFW's;
# of 200 images of noise it took none for a face, at −0.5 two.
_SURE_ENOUGH = -0.3
_PADDING = 0.25  # of a chip around the face, as dlib cuts them for its own networks


def require_chips(asked: str) -> None:
    """Check that faces can be cut out, before files are read; ``asked`` is what needs it, for the error.

    Raises:
        InputError: dlib or its weights are not installed.
    """
    require_dlib(asked)
    weights(LANDMARKS, asked)


def has_face(data: bytes) -> bool:
    """Whether dlib finds a frontal face in an image that ``check`` has taken.

    Made to leave out what is no photo of a face, not to find every one: some cut as tightly as FER2013's, and profiles,
    are missed.
    """
    return len(_found(_looked_at(whole(data).image)[0])) > 0


def face_chip(data: bytes, size: int) -> bytes | None:
    """The face nearest to the middle of an image that ``check`` has taken, cut out upright; None where none is found.

    The corners of the eyes and the nose decide how it is turned, shifted and scaled.

    Args:
        data: the file.
        size: width and height of the result in pixels.

    Returns:
        A PNG.
    """
    import dlib

    image = whole(data).image
    grey, factor = _looked_at(image)
    middle = dlib.point(grey.shape[1] // 2, grey.shape[0] // 2)
    if not (faces := _found(grey)):
        return None
    face = min(faces, key=lambda box: math.hypot(box.center().x - middle.x, box.center().y - middle.y))
    points = [dlib.point(round(p.x / factor), round(p.y / factor)) for p in _landmarks()(grey, face).parts()]
    chip = dlib.get_face_chip(np.asarray(image), dlib.full_object_detection(face, points), size, _PADDING)
    out = io.BytesIO()
    Image.fromarray(chip).save(out, "PNG")
    return out.getvalue()


def _looked_at(image: Image.Image) -> tuple[np.ndarray, float]:
    """The grey image (H, W) that dlib looks at, and how much larger it is than the image."""
    longer = max(image.size)
    factor = min(max(longer, _LEAST), _MOST) / longer
    grey = image.convert("L")
    if factor != 1:
        size = [max(1, round(side * factor)) for side in grey.size]
        grey = grey.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return np.asarray(grey), factor


def _found(grey: np.ndarray) -> list[Any]:
    """The boxes of its faces."""
    return list(_detector().run(grey, 0, _SURE_ENOUGH)[0])


@functools.cache
def _detector() -> Any:
    """Of this process; units are read one at a time in each, so it is never asked twice at once."""
    import dlib

    return dlib.get_frontal_face_detector()


@functools.cache
def _landmarks() -> Any:
    """Likewise."""
    import dlib

    return dlib.shape_predictor(str(weights(LANDMARKS, "a chip")))
