"""dlib's public embedder as a judge.

pytest tests/runtime/test_public_judge.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny_models import TinyModels
from torch import Tensor

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.pools import load_pool
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.transforms import to_float
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.dlib_identity import DlibIdentity
from stargan_ray.runtime.evaluate_embedder import evaluate_embedder
from stargan_ray.runtime.judges import open_identity_judge, require_helper
from stargan_ray.runtime.models import export_model, load_model


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Two pictures of each of four people, (8, 3, 96, 96), a person's after one another."""
    folder = str(tmp_path_factory.mktemp("faces") / "faces")
    write_dataset(folder, read_faces(FacesConfig(people=4, images_per_person=2, size=96, splits=(1.0, 0.0, 0.0))))
    dataset = open_dataset(folder)
    order = sorted(range(8), key=lambda row: dataset.index["identity"][row].as_py())
    return to_float(torch.from_numpy(load_pool(dataset, range(8), 96)))[order]


@pytest.fixture(scope="module")
def judge() -> DlibIdentity:
    return DlibIdentity()


def test_people_lie_further_apart_than_two_pictures_of_one(judge: DlibIdentity, faces: Tensor) -> None:
    vectors = judge(faces)
    assert vectors.shape == (8, 128)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))
    gap = torch.cdist(vectors, vectors).square()
    person = torch.arange(4).repeat_interleave(2)
    same = person[:, None] == person
    assert gap[same & ~torch.eye(8, dtype=torch.bool)].mean() < gap[~same].mean()


def test_a_face_is_aligned_wherever_it_lies_in_the_picture(judge: DlibIdentity, faces: Tensor) -> None:
    moved = torch.roll(faces, (4, -3), dims=(2, 3))
    gap = (judge(faces) - judge(moved)).square().sum(1)
    assert gap.median() < 0.01  # 0.05 where the centre is cut out as it is


def test_it_has_no_gradients_and_says_so(judge: DlibIdentity, faces: Tensor) -> None:
    image = faces[:1].clone().requires_grad_()
    with pytest.raises(InputError, match="no gradients"):
        judge(image)
    with torch.no_grad():
        assert judge(image).requires_grad is False


def test_it_is_a_model_by_its_name(faces: Tensor, tiny: TinyModels, tmp_path: Path) -> None:
    model = load_model("dlib")
    assert (model.kind, model.where, model.meta["licence"]) == ("identity-judge", "dlib", "CC0-1.0")
    assert "dlib_face_recognition_resnet" in model.meta["pretrained"]
    assert model.content_hash != load_model(tiny.identity).content_hash
    vectors = open_identity_judge("dlib", load_model(tiny.run))(faces[:1])
    torch.testing.assert_close(vectors, model.networks["embedder"](faces[:1]))
    with pytest.raises(InputError, match="a judge that trains is no judge"):
        require_helper("identity", model)


def test_the_evaluation_of_embedders_takes_it(tmp_path: Path) -> None:
    people = str(tmp_path / "faces")
    write_dataset(people, read_faces(FacesConfig(people=6, images_per_person=3, size=96, splits=(0.0, 0.0, 1.0))))
    report = evaluate_embedder(people, str(tmp_path / "out"), load_model("dlib"))
    assert report["embedder"]["name"].startswith("dlib ")
    assert (report["embedder"]["kind"], report["embedder"]["dimensions"]) == ("identity-judge", 128)
    assert report["splits"]["test"]["rows"] == 18
    assert any("dlib_face_recognition_resnet" in line for line in report["people"]["unchecked"])


def test_it_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="used by its name and not exported"):
        export_model("dlib", tmp_path / "model")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(InputError, match=r"pip install 'stargan-ray\[judge\]'"):
        load_model("dlib")


@pytest.mark.parametrize("face", [0.1, 1.1, float("nan")])
def test_unusable_shares_are_refused(face: float) -> None:
    with pytest.raises(InputError, match=r"face = .*allowed is 0\.2 to 1"):
        DlibIdentity(face)
