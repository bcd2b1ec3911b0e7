"""Images without a face are left out and counted when that is asked for.

pytest tests/data/readers/test_faces_only.py
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stargan_ray.data import dlib_files
from stargan_ray.data.face_detection import face_chip, has_face
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
    monkeypatch.setattr(dlib_files.importlib.util, "find_spec", lambda _: None)
    for asked in ({"faces": True}, {"chip": 64}):
        (name,) = asked
        with pytest.raises(InputError, match=rf"--limits.{name} needs dlib .*: pip install 'stargan-ray\[judge\]'"):
            Limits(**asked)


def _photo(face: Image.Image, degrees: float, scale: float, left: int, top: int) -> bytes:
    """A larger photo with a face in it: turned, enlarged and somewhere."""
    turned = face.resize((round(face.width * scale),) * 2, Image.Resampling.BICUBIC)
    turned = turned.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(120, 120, 120))
    photo = Image.new("RGB", (640, 480), (120, 120, 120))
    photo.paste(turned, (left, top))
    return png(np.asarray(photo))


def test_a_face_is_cut_out_upright_wherever_and_however_it_is_in_a_photo() -> None:
    (row, _) = next(iter(generate(FacesConfig(people=1, images_per_person=1, size=160), 0, 1)))
    face = Image.open(io.BytesIO(row.image)).convert("RGB")
    chips = []
    for degrees, scale, left, top in ((0, 1.0, 240, 160), (18, 1.0, 240, 160), (-12, 1.6, 80, 40), (8, 0.8, 420, 300)):
        chip = face_chip(_photo(face, degrees, scale, left, top), 96)
        assert chip is not None
        image = Image.open(io.BytesIO(chip))
        assert (image.size, image.format) == ((96, 96), "PNG")
        chips.append(np.asarray(image.convert("L"), dtype=np.float64))
    inner = [chip[20:76, 20:76] for chip in chips]  # beyond it lies what the photo has around the face
    other = next(iter(generate(FacesConfig(people=9, images_per_person=1, size=160, seed=5), 8, 9)))[0].image
    stranger = face_chip(_photo(Image.open(io.BytesIO(other)).convert("RGB"), 0, 1.0, 240, 160), 96)
    assert stranger is not None
    far = np.corrcoef(inner[0].ravel(), np.asarray(Image.open(io.BytesIO(stranger)).convert("L"))[20:76, 20:76].ravel())
    near = [np.corrcoef(inner[0].ravel(), each.ravel())[0, 1] for each in inner[1:]]
    assert min(near) > 0.9, near
    assert min(near) > far[0, 1] + 0.1


def test_chips_take_the_place_of_photos_and_those_without_a_face_are_counted(photos: Path, tmp_path: Path) -> None:
    source = read_folder(FolderConfig(str(photos), Limits(chip=48)))
    manifest = write_dataset(str(tmp_path / "chips"), source)
    assert (manifest.rows, manifest.skipped) == (8, {"no face found": 3})
    assert manifest.source["chip"] == 48
    dataset = open_dataset(str(tmp_path / "chips"))
    assert all(Image.open(io.BytesIO(data)).size == (48, 48) for data in dataset.images(np.arange(8)))
    with pytest.raises(InputError, match=r"^--limits.chip 8: allowed are 0 and 16 to 1024 pixels$"):
        Limits(chip=8)
