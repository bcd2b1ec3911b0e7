"""Folds for cross-fitting: a function of the image alone, and what a training that leaves one out sees.

pytest tests/data/test_folds.py
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stargan_ray.config import DataConfig, to_json
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.folds import dealt, fold_of, seen_rows
from stargan_ray.data.plan import epoch_plan
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import validation
from stargan_ray.runtime.plans import make_plan
from stargan_ray.runtime.resuming import require_same
from stargan_ray.runtime.run import Run

HASHES = [hashlib.sha256(bytes([k % 256, k // 256])).hexdigest() for k in range(3000)]


def test_a_fold_depends_on_the_image_alone_and_folds_are_alike_in_size() -> None:
    fold = fold_of(HASHES, 3)
    assert fold_of(HASHES[::-1], 3).tolist() == fold.tolist()[::-1]
    assert fold_of(HASHES[7:8], 3)[0] == fold[7]
    counts = np.bincount(fold)
    assert len(counts) == 3
    assert counts.min() > 900


def test_dealt_folds_keep_a_name_together_and_have_as_many_names() -> None:
    names = [f"p{k % 23}" for k in range(200)]
    fold = dealt(names, 5, seed=0)
    assert len({(name, int(f)) for name, f in zip(names, fold, strict=True)}) == 23
    assert sorted(len({n for n, f in zip(names, fold, strict=True) if f == k}) for k in range(5)) == [4, 4, 5, 5, 5]


def test_a_deal_depends_on_its_seed_and_not_on_the_order_of_rows() -> None:
    names = [f"p{k}" for k in range(40)]
    fold = dealt(names, 4, seed=0)
    assert dealt(names[::-1], 4, seed=0).tolist() == fold.tolist()[::-1]
    assert dealt(names, 4, seed=1).tolist() != fold.tolist()


def test_fewer_people_than_folds_are_refused() -> None:
    with pytest.raises(InputError, match="folds = 5: there are 2 people or images to deal"):
        dealt(["a", "b", "a", "b", "a", "b"], 5, seed=0)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (-1, 0), (3, 3), (3, -1), (0, 1)])
def test_folds_that_do_not_exist_are_refused(folds: int, fold: int) -> None:
    with pytest.raises(InputError, match=r"data\.fold"):
        DataConfig(folds=folds, fold=fold)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("folds") / "faces")
    write_dataset(uri, read_faces(FacesConfig(people=12, size=32, splits=(0.7, 0.3, 0.0)), 64))
    return open_dataset(uri)


@pytest.mark.parametrize("balance", [True, False])
def test_training_and_validation_see_every_fold_but_the_one_left_out(
    faces: Dataset, balance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_named("expression-tiny")
    fold = fold_of(faces.index["content_hash"].to_pylist(), 3)
    train = np.asarray(faces.index["split"].to_pylist()) == "train"
    looked: list[np.ndarray] = []
    whole = validation.load_pool
    monkeypatch.setattr(validation, "load_pool", lambda d, rows, s: looked.append(rows) or whole(d, rows, s))
    for left_out in range(3):
        data = replace(recipe.data, folds=3, fold=left_out, balance=balance)
        plan = make_plan(replace(recipe, data=data), faces)
        drawn = {int(row) for epoch in range(3) for row in epoch_plan(plan, epoch)["source"].ravel()}
        assert drawn == set(np.flatnonzero(train & (fold != left_out)).tolist())
        validation.make_hooks(replace(recipe, data=data), faces, "", torch.device("cpu"))
        assert looked.pop().tolist() == np.flatnonzero(~train & (fold != left_out)).tolist()


def test_without_folds_everything_is_seen(faces: Dataset) -> None:
    assert seen_rows(faces.index, 0, 0).to_pylist() == [True] * len(faces)


def test_a_run_of_a_time_without_folds_goes_on(tmp_path: Path, faces: Dataset) -> None:
    run = Run(recipe_named("expression-tiny"), faces.uri, str(tmp_path), "old")
    old = to_json(run.recipe)
    del old["data"]["folds"], old["data"]["fold"]
    latest = {"recipe": old}
    require_same(run, latest, faces.manifest.content_hash)
    changed = replace(run, recipe=replace(run.recipe, data=replace(run.recipe.data, folds=3)))
    with pytest.raises(InputError, match=r"data\.folds = 0, now 3"):
        require_same(changed, latest, faces.manifest.content_hash)
