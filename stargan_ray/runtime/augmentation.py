"""Table II's protocol: train the classifier with and without translated images, test it on real held-out ones.

A block of work is one training, (kind of split, arm, seed, fold); its logits of the held-out images are stored, so a
table that was stopped goes on where it was, and one with more arms or seeds trains only those.

What cannot be seen here: a translator that was itself trained on these images has seen those that are held out. Give
one that was trained on other data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stargan_ray.data import storage
from stargan_ray.data.augmentation_set import open_augmentation_set
from stargan_ray.data.plan import Ints
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.augmentation import PLAIN, Arm, TableTwo
from stargan_ray.runtime.augmentation_work import AugmentationConfig, Job, Trainings
from stargan_ray.runtime.block_pool import each_block

__all__ = ["AugmentationConfig", "open_trainings", "run_augmentation", "table_of"]


def run_augmentation(
    config: AugmentationConfig,
    out: str,
    *,
    parallel: int = 1,
    on_done: Callable[[int, int], None] = lambda _done, _of: None,
) -> TableTwo:
    """Train what is not stored yet, and make the table.

    Args:
        config: of the table.
        out: URI of a folder for the trainings' logits.
        parallel: processes; 1 is this one, more are Ray actors. On CPUs the numbers are the same, to the bit where
            the recipe fixes ``train.threads``.
        on_done: told of (trainings that are stored, all trainings), for progress.

    Raises:
        InputError: a translated set does not belong to the data, there are fewer people than folds or rows without a
            person, or something cannot be read or written.
    """
    if parallel < 1:
        raise InputError(f"parallel = {parallel}: allowed are values >= 1")
    work = open_trainings(config, out)
    missing = [start for start in range(len(work.jobs)) if not work.stored(start)]
    done = len(work.jobs) - len(missing)
    on_done(done, len(work.jobs))
    for _ in each_block(work, missing, parallel):
        done += 1
        on_done(done, len(work.jobs))
    return table_of(work)


def open_trainings(config: AugmentationConfig, out: str) -> Trainings:
    """The trainings of a table: all arms of a fold, fold after fold, seed after seed, so that a table is whole early.

    Raises:
        InputError: see :func:`run_augmentation`.
    """
    folder = storage.join(storage.absolute(out), "trainings")
    dataset = open_dataset(config.data)
    size = config.recipe.data.size
    sets = {name: open_augmentation_set(uri, dataset, size) for name, uri in config.arms.items()}
    jobs = tuple(
        Job(kind, arm, seed, fold)
        for seed in config.seeds
        for kind in config.kinds
        for fold in range(config.folds)
        for arm in ("", *sets)
    )
    work = Trainings(config, dataset, sets, jobs, folder)
    nameless = dataset.index["identity"].is_null().to_numpy()[work.usable].sum()
    if "people" in config.kinds and nameless:
        raise InputError(f"{dataset.uri}: {nameless} rows do not say who they show; without people give kinds = images")
    for job in jobs:
        work.plan(job)  # whatever is wrong with a fold is said before hours of training
    storage.check_writable(folder)
    return work


def table_of(work: Trainings) -> TableTwo:
    """The table of trainings that are all stored.

    Raises:
        InputError: one is not, or cannot be read here.
    """
    config, rows = work.config, work.usable
    hits: dict[tuple[str, str, int], npt.NDArray[np.bool_]] = {}
    for start, job in enumerate(work.jobs):
        found = work.read(start)
        if found is None:
            raise InputError(f"a training in {work.folder} cannot be read here: workers on other machines need s3://…")
        held_out, logits = found
        of_seed = hits.setdefault((job.kind, job.arm, job.seed), np.zeros(len(work.dataset), np.bool_))
        of_seed[held_out] = logits.argmax(axis=1) == work.labels[held_out]
    arms = [
        Arm(
            f"{PLAIN} + {arm}" if arm else PLAIN,
            kind,
            np.stack([hits[kind, arm, seed][rows] for seed in config.seeds]),
            np.stack([work.folds(kind, seed)[rows] for seed in config.seeds]),
            work.persons[rows],
        )
        for kind in config.kinds
        for arm in ("", *work.sets)
    ]
    return TableTwo(tuple(arms), _facts(work, rows))


def _facts(work: Trainings, rows: Ints) -> dict[str, str | int | float]:
    recipe = work.recipe(work.jobs[0])
    return {
        "recipe": recipe.name,
        "images": len(rows),
        "people": len(np.unique(work.persons[rows])),
        "folds": work.config.folds,
        "steps of every training": recipe.train.steps,
        "batch": recipe.data.shape.batch,
        "translated share of a batch": work.config.share,
    }
