"""Images without a face are left out and counted when that is asked for.

pytest tests/data/readers/test_faces_only.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stargan_ray.data import face_detection
from stargan_ray.data.face_detection import has_face
from stargan_ray.data.faces import FacesConfig, generate
from stargan_ray.data.readers.files import Limits
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError


def png(pixels: np.ndarray) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "png")
    return made.getvalue()


def scenery(number: int) -> bytes:
    """Noise of a few sizes, a gradient, one colour: nothing that is a face."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (4 << number % 4, 4 << number % 4, 3), dtype=np.uint8)
    return png(np.asarray(Image.fromarray(coarse).resize((96, 96))))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two expressions of four faces each, and three pictures without one among them."""
    for number, (row, _) in enumerate(generate(FacesConfig(people=4, images_per_person=2, size=64), 0, 8)):
        folder = tmp_path / "photos" / "train" / ("happiness" if number % 2 else "neutral")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.jpg").write_bytes(row.image)
    for number in range(3):
        (folder / f"scenery-{number}.png").write_bytes(scenery(number))
    return tmp_path / "photos"


@pytest.mark.parametrize("size", [32, 64, 160])
def test_faces_are_found_whatever_their_size_and_scenery_is_not(size: int) -> None:
    found = [has_face(row.image) for row, _ in generate(FacesConfig(people=10, images_per_person=2, size=size), 0, 20)]
    assert sum(found) >= 19
    assert not any(has_face(scenery(number)) for number in range(20))


def test_images_without_a_face_are_left_out_counted_and_listed(photos: Path, tmp_path: Path) -> None:
    source = read_folder(FolderConfig(str(photos), Limits(faces=True)))
    manifest = write_dataset(str(tmp_path / "faces"), source)
    assert manifest.rows == 8
    assert manifest.skipped == {"no face found": 3}
    assert not [key for key in open_dataset(str(tmp_path / "faces")).index["key"].to_pylist() if "scenery" in key]


def test_they_stay_when_it_is_not_asked_for_and_the_two_are_different_sources(photos: Path, tmp_path: Path) -> None:
    plain, picky = (read_folder(FolderConfig(str(photos), Limits(faces=faces))) for faces in (False, True))
    assert write_dataset(str(tmp_path / "all"), plain).rows == 11
    assert plain.identity() != picky.identity()
    assert "faces" not in plain.description


def test_without_dlib_it_is_one_line_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_detection.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"--limits.faces: dlib, .* is missing: pip install 'stargan-ray\[judge\]'"):
        Limits(faces=True)
