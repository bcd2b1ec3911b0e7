"""Table II within a comparison: every method translates the studio set, a VGG16 learns with and without its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rich.progress import Progress

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.data.units import Written
from stargan_ray.errors import InputError
from stargan_ray.evaluation.augmentation import PLAIN, TableTwo
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.augmentation import AugmentationConfig, run_augmentation
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.progress import Told, counting
from stargan_ray.runtime.strangers import require_strangers
from stargan_ray.runtime.translate_dataset import make_recipe, translate_dataset


@dataclass(frozen=True)
class AugmentationStudy:
    """What is trained for Table II.

    Attributes:
        data: URI of a set in KDEF's manner: KDEF itself, or the generated studio set.
        recipe: of the classifier.
        folds, seeds, kinds: see ``AugmentationConfig``.
    """

    data: str
    recipe: Recipe = field(default_factory=lambda: recipe_named("vgg16-tiny"))
    folds: int = 5
    seeds: tuple[int, ...] = (0, 1, 2)
    kinds: tuple[str, ...] = ("people", "images")


def table_two(
    study: AugmentationStudy, translators: Mapping[str, str], out: str, *, parallel: int, progress: Progress
) -> tuple[TableTwo, list[str]]:
    """Translate the set by every translator, train every classifier that is not trained yet, and make the table.

    Args:
        study: what is trained.
        translators: row -> model; each must be a stranger to the people of the set.
        out: URI of a folder for the translated sets and the trainings' logits.
        parallel: processes.
        progress: shows both.

    Returns:
        The table, and what could not be checked about the people.

    Raises:
        InputError: a translator knows somebody of the people, or as ``run_augmentation``.
    """
    dataset = open_dataset(study.data)
    everybody = np.arange(len(dataset), dtype=np.int64)
    arms, unchecked = {}, []
    for name, where in translators.items():
        model = load_model(where)
        told = require_strangers(dataset, everybody, model.meta)["unchecked"]
        unchecked += [f"{name}: {line}" for line in told]
        place = storage.join(out, "translated", model.content_hash[:16])
        with counting(f"translate by {name}", progress) as on_done:
            told_of = partial(_one_more, on_done)
            translate_dataset(study.data, place, make_recipe(where), parallel=parallel, on_written=told_of)
        arms[name] = place
    if taken := [name for name in arms if name == PLAIN]:
        raise InputError(f"row {taken[0]!r} has the name of the classifier without more images: give it another one")
    config = AugmentationConfig(study.data, arms, study.recipe, study.folds, study.seeds, study.kinds)
    with counting("train with and without", progress) as on_done:
        place = storage.join(out, "augmentation")
        table = run_augmentation(config, place, parallel=parallel, on_done=Told(on_done))
    return table, unchecked


def _one_more(on_done: Callable[[int, int], None], _unit: Written, of: int) -> None:
    on_done(1, of)
