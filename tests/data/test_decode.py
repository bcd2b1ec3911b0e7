"""The check of an image at an eighth of its side refuses the damaged JPEGs that a whole decode refuses, and no other.

pytest tests/data/test_decode.py
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stargan_ray.data.decode import UndecodableError, check, whole

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "grey": ("L", {}),
    "grey, progressive": ("L", {"progressive": True}),
    "colour": ("RGB", {"subsampling": 2}),
    "colour, progressive": ("RGB", {"progressive": True, "subsampling": 1}),
    "stored as RGB": ("RGB", {"keep_rgb": True}),
    "with restart markers": ("RGB", {"restart_marker_blocks": 4}),
    "four inks": ("CMYK", {}),
}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, or with some bytes changed."""
    spoilt = bytearray(data)
    if rng.random() < 0.5:
        return bytes(spoilt[: rng.integers(len(spoilt))])
    for place in rng.integers(len(spoilt), size=rng.choice((1, 3, 20))):
        spoilt[place] = rng.integers(256)
    return bytes(spoilt)


def refused(function: Any, *arguments: Any) -> bool:
    try:
        function(*arguments)
    except UndecodableError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_jpegs_are_refused_as_a_whole_decode_refuses_them(kind: str) -> None:
    mode, options = KINDS[kind]
    rng = np.random.default_rng(0)
    out = io.BytesIO()
    smooth = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).resize((61, 75))
    smooth.convert(mode).save(out, "JPEG", **options)
    check(out.getvalue(), 10_000)
    spoilt = [damaged(out.getvalue(), rng) for _ in range(300)]
    expected = [refused(whole, each) for each in spoilt]
    assert [refused(check, each, 1 << 32) for each in spoilt] == expected
    assert 100 < sum(expected) < 300
