"""StarGAN v2's evaluation on a tiny translator: restarted, in Ray, and with one answer.

pytest tests/runtime/test_protocol.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import meta_for, recipe_for

from stargan_ray.config import AnyMethod
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.schema import EXPRESSIONS
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.frechet import frechet_distance
from stargan_ray.evaluation.known import known_faces
from stargan_ray.evaluation.report import split_estimates
from stargan_ray.evaluation.translations import ReferenceGuide, Requests, latents, translate
from stargan_ray.methods.expression import ExpressionMethod
from stargan_ray.methods.stargan_v1 import StarGANv1
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.runtime.feature_networks import open_feature_networks
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.protocol import run_protocol
from stargan_ray.training.checkpoint import save_folder
from stargan_ray.training.loop import fresh_state
from stargan_ray.training.worker import LocalWorker

V2 = StarGANv2(first=4, largest=8, bottleneck=8, depth=1, style_dim=4, latent_dim=3, mapping_hidden=6)
FEW: dict[str, Any] = {"split": "train", "people": 6, "sources": 2, "outputs": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("protocol")
    write_dataset(str(root / "faces"), read_faces(FacesConfig(people=12, size=32)))
    for name, method in (
        ("v2", V2),
        ("v1", StarGANv1(first=4, blocks=1, layers=3)),
        ("judge", ExpressionMethod(width=2)),
    ):
        save(method, root / name)
    return root


def save(method: AnyMethod, folder: Path) -> None:
    recipe = recipe_for(method, 32)
    state = fresh_state(recipe, len(EXPRESSIONS), LocalWorker(), {})
    save_folder(state, folder, meta_for(recipe, domains=list(EXPRESSIONS)))


def evaluate(place: Path, folder: str, model: str = "v2", **more: Any) -> dict[str, Any]:
    networks = open_feature_networks(judge=load_model(place / "judge"))
    return run_protocol(
        load_model(place / model), open_dataset(str(place / "faces")), str(place / folder), networks, **FEW, **more
    )


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, Any]:
    return evaluate(place, "once")


def test_every_pair_and_guide_has_its_figures(place: Path, whole: dict[str, Any]) -> None:
    plain, intervals = split_estimates(whole)
    json.dumps(plain, allow_nan=False)
    json.dumps(intervals, allow_nan=False)
    for guide in ("latent", "reference"):
        section = whole[guide]
        pairs = section["pairs"]
        assert len(pairs) == len(EXPRESSIONS) * (len(EXPRESSIONS) - 1)
        assert section["frechet"].value == pytest.approx(np.mean([row["frechet"].value for row in pairs.values()]))
        assert section["diversity"].value > 0
        assert section["one_answer"] is False
        assert next(iter(pairs.values()))["frechet"].n == 2 * 3
    assert whole["names"]["frechet"].startswith("Fréchet distance on ")


def test_only_what_is_missing_is_done_again(place: Path, whole: dict[str, Any]) -> None:
    blocks = sorted(p for p in (place / "once").glob("*/*.parquet"))
    blocks[3].unlink()
    blocks[8].write_bytes(blocks[8].read_bytes()[:100])
    kept = {path: path.stat().st_mtime_ns for path in blocks if path not in (blocks[3], blocks[8])}
    told: list[tuple[int, int]] = []
    assert str(evaluate(place, "once", on_done=lambda done, of: told.append((done, of)))) == str(whole)
    assert told == [(len(blocks) - k, len(blocks)) for k in (2, 1, 0)]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_two_ray_actors_give_the_numbers_of_one_process(place: Path, whole: dict[str, Any]) -> None:
    assert str(evaluate(place, "in-ray", parallel=2)) == str(whole)


def test_a_translator_of_labels_has_one_answer(place: Path) -> None:
    found = evaluate(place, "v1", "v1")
    for guide in ("latent", "reference"):
        assert found[guide]["one_answer"] is True
        assert found[guide]["diversity"].value == 0
        assert next(iter(found[guide]["pairs"].values()))["frechet"].n == 2  # one translation of each source


def test_a_model_that_does_not_fit_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match="allowed here is a translator"):
        evaluate(place, "none", "judge")


def test_outputs_have_codes_and_references_of_their_own(place: Path) -> None:
    one = np.array([4])
    assert torch.equal(latents(one, one, 3), latents(one, one, 3, output=0))
    assert len({tuple(latents(one, one, 3, output=k)[0].tolist()) for k in range(10)}) == 10
    model: LoadedModel = load_model(place / "v2")
    faces = known_faces(open_dataset(str(place / "faces")), 32, "train", 6)
    labels = faces.labels.numpy()
    source = np.flatnonzero(labels == 0)[:1]
    there = int(((labels == 1) & (faces.persons != faces.persons[source[0]])).sum())
    made = [
        next(
            translate(
                model.method, model.networks, faces, Requests(source, one * 0 + 1), ReferenceGuide(faces), output=k
            )
        )  # type: ignore[arg-type]
        for k in range(there)
    ]
    assert len({tuple(image.flatten().tolist()) for image in made}) == there > 2
    assert frechet_distance(np.eye(3), np.eye(3)) == pytest.approx(0, abs=1e-6)
