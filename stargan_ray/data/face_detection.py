"""Whether an image shows a face: dlib's detector of frontal faces, whose weights are part of dlib (extra ``judge``)."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import numpy as np
from PIL import Image

from stargan_ray.data.decode import whole
from stargan_ray.errors import InputError

_LEAST, _MOST = 256, 640  # pixels of the longer side at which it looks: its faces have 80 or more
# Of the detector's score. At its own 0 it finds 77 % of FER2013's faces of 48 pixels, here 84 %, and 99.5 % of LFW's;
# of 200 images of noise it took none for a face, at −0.5 two.
_SURE_ENOUGH = -0.3


def require_detector() -> None:
    """Check that there is a detector, before files are read.

    Raises:
        InputError: dlib is not installed.
    """
    if importlib.util.find_spec("dlib") is None:
        raise InputError("--limits.faces: dlib, which looks for them, is missing: pip install 'stargan-ray[judge]'")


def has_face(data: bytes) -> bool:
    """Whether dlib finds a frontal face in an image that ``check`` has taken.

    Made to leave out what is no photo of a face, not to find every one: some cut as tightly as FER2013's, and profiles,
    are missed.
    """
    image = whole(data).image.convert("L")
    longer = max(image.size)
    factor = min(max(longer, _LEAST), _MOST) / longer
    if factor != 1:
        size = [max(1, round(side * factor)) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return len(_detector().run(np.asarray(image), 0, _SURE_ENOUGH)[0]) > 0


@functools.cache
def _detector() -> Any:
    """Of this process; units are read one at a time in each, so it is never asked twice at once."""
    import dlib

    return dlib.get_frontal_face_detector()
