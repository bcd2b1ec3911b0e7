"""Pretrained weights of a run: fetched from a bucket, recorded as what came, not fetched again when a run goes on.

pytest tests/runtime/test_pretrained.py
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.identity import IdentityMethod
from stargan_ray.models.identity import Xception
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import launch
from stargan_ray.runtime.card import card
from stargan_ray.runtime.models import export_model, load_model
from stargan_ray.runtime.run import Run


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # where records go
    write_dataset("faces", read_faces(FacesConfig(people=6, images_per_person=6, size=32, splits=(1.0, 0.0, 0.0)), 64))
    return str(tmp_path / "faces")


def recipe_of(**method: object) -> Recipe:
    """One step of the full Xception without middle flow."""
    base = recipe_named("identity-paper")
    fields = {"middle_blocks": 0, "input_size": 32} | method
    return replace(
        base,
        method=replace(base.method, **fields),  # type: ignore[arg-type]
        data=replace(base.data, size=32, shape=Shape(batch=4, lanes=1, window=2), images_per_person=2),
        train=replace(base.train, steps=1, checkpoint_every=1, validate_every=0, threads=1),
    )


def test_weights_in_a_bucket_start_a_run_and_are_named_on_its_card(s3: str, faces: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    trunk = Xception(middle_blocks=0)
    buffer = io.BytesIO()
    torch.save(trunk.state_dict(), buffer)
    where = f"{s3}/weights/xception.pth"
    storage.write_bytes(where, buffer.getvalue())
    run = Run(recipe_of(pretrained=where, trained_from="block12"), faces, str(tmp_path / "runs"), "paper")
    launch.fit_here(run)
    model = load_model(run.uri)
    embedder = model.networks["embedder"]
    assert torch.equal(
        embedder.get_parameter("trunk.block1.rep.0.pointwise.weight"), trunk.block1.rep[0].pointwise.weight
    )
    assert not torch.equal(embedder.get_parameter("trunk.conv4.pointwise.weight"), trunk.conv4.pointwise.weight)
    assert f"yes, `{where}`" in card(model.meta)
    storage.delete(where)  # a run that goes on has its own weights
    longer = replace(run, recipe=replace(run.recipe, train=replace(run.recipe.train, steps=2)))
    assert launch.fit_here(longer).step == 2
    assert load_model(run.uri).meta["pretrained"] == where
    assert load_model(export_model(run.uri, tmp_path / "model")).meta["pretrained"] == where


def test_weights_out_of_reach_are_not_claimed(faces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.create_model", refuse)
    run = Run(recipe_of(pretrained="timm", trained_from=""), faces, str(tmp_path / "runs"), "random")
    launch.fit_here(run)
    assert load_model(run.uri).meta["pretrained"] == "none"
    assert "none used" in card(load_model(run.uri).meta)
    last = Run(recipe_of(pretrained="timm", trained_from="block12"), faces, str(tmp_path / "runs"), "last")
    with pytest.raises(
        InputError, match=r"trained_from = 'block12' .* random weights \(timm's were out of reach\): give"
    ):
        launch.fit_here(last)


def test_the_copied_recipe_is_that_of_the_papers_figure() -> None:
    method = recipe_named("identity-paper").method
    assert isinstance(method, IdentityMethod)
    assert (method.margin, method.mining, method.relu_before_norm) == (1.0, "random", True)
    assert (method.pretrained, method.trained_from) == ("timm", "block11")
    assert (method.hidden, method.embedding, method.solver.eps, method.solver.peak) == (512, 256, 0.1, 1e-3)
