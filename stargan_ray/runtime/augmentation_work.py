"""The work of Table II: which images each training sees, and its logits of those that are held out, stored.

<out>/trainings/<hash>.parquet    row, logit_<expression> of the held-out images
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.config import Recipe, to_json
from stargan_ray.data import storage
from stargan_ray.data.augmentation_set import AugmentationSet
from stargan_ray.data.folds import dealt
from stargan_ray.data.plan import Ints
from stargan_ray.data.plan_mixed import MixedPlan, mixed_plan
from stargan_ray.data.pools import Pixels, load_pool
from stargan_ray.data.shards import Dataset
from stargan_ray.data.units import write_table
from stargan_ray.errors import InputError, unknown
from stargan_ray.evaluation.augmentation import KINDS
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.augmentation_training import Logits, prepared, train_and_test


def _tiny() -> Recipe:
    return recipe_named("vgg16-tiny")


@dataclass(frozen=True)
class AugmentationConfig:
    """What is trained and compared.

    Attributes:
        data: URI of the real images; every split of it is dealt to folds.
        arms: method -> URI of the set of translated images it made of ``data``.
        recipe: of the classifier; the same steps and batch for every arm.
        folds: parts, each held out once.
        seeds: each deals the folds anew, starts other weights and draws other batches; the same for every arm.
        kinds: ``people`` holds out people; ``images`` holds out images whose people are trained on, as the
            literature does.
        share: of translated images in a batch, 0 < share < 1; see ``data/plan_mixed.py`` for why it is fixed.
        steps: of every training; 0 = the recipe's.
    """

    data: str
    arms: Mapping[str, str]
    recipe: Recipe = field(default_factory=_tiny)
    folds: int = 5
    seeds: tuple[int, ...] = (0, 1, 2)
    kinds: tuple[str, ...] = ("people", "images")
    share: float = 0.5
    steps: int = 0

    def __post_init__(self) -> None:
        """Refuse what gives no table."""
        if self.folds < 2:
            raise InputError(f"folds = {self.folds}: allowed are values >= 2")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InputError(f"seeds = {self.seeds}: allowed are one or more values >= 0, each once")
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise InputError(f"kinds = {self.kinds}: allowed are one or more of {', '.join(KINDS)}, each once")
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown("split kind", kind, KINDS)
        if not 0 < self.share < 1:  # NaN too
            raise InputError(f"share = {self.share}: allowed is 0 < share < 1")
        if self.steps < 0:
            raise InputError(f"steps = {self.steps}: allowed are values >= 0 (0 = the recipe's)")
        prepared(self.recipe, self.steps, 0)


class Job(NamedTuple):
    """One training."""

    kind: str
    arm: str  # a method, or empty for the classifier alone
    seed: int
    fold: int


class Images:
    """Decoded images of a process: each set once, when it is first asked for."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sets: dict[str, Pixels] = {}

    def of(self, dataset: Dataset) -> Pixels:
        """(N, 3, size, size) uint8."""
        if dataset.uri not in self._sets:
            self._sets[dataset.uri] = load_pool(dataset, np.arange(len(dataset)), self._size)
        return self._sets[dataset.uri]


@dataclass(frozen=True)
class Trainings:
    """The blocks of a table; see ``block_pool.Work``.

    Args:
        config: of the table.
        dataset: the real images.
        sets: method -> its translated images.
        jobs: the trainings; a block is its place among them.
        folder: URI that they are stored under.
    """

    config: AugmentationConfig
    dataset: Dataset
    sets: Mapping[str, AugmentationSet]
    jobs: tuple[Job, ...]
    folder: str

    @functools.cached_property
    def labels(self) -> Ints:
        """(N,) expression of every real row, -1 where there is none."""
        found: Ints = self.dataset.index["expression"].fill_null(-1).to_numpy().astype(np.int64)
        return found

    @functools.cached_property
    def persons(self) -> npt.NDArray[np.str_]:
        """(N,) who every real row shows; a row that does not say is its own."""
        named, keys = (self.dataset.index[name].to_pylist() for name in ("identity", "key"))
        return np.array([k if who is None else who for who, k in zip(named, keys, strict=True)], dtype=str)

    @property
    def usable(self) -> Ints:
        """Real rows with an expression."""
        return np.flatnonzero(self.labels >= 0).astype(np.int64)

    def folds(self, kind: str, seed: int) -> Ints:
        """(N,) fold of every real row, the same for every arm; copies of an image are in one fold."""
        names = self.persons if kind == "people" else self.dataset.index["content_hash"].to_pylist()
        folds = np.full(len(self.dataset), -1, dtype=np.int64)
        rows = self.usable
        folds[rows] = dealt([str(names[row]) for row in rows], self.config.folds, seed)
        return folds

    def recipe(self, job: Job) -> Recipe:
        """Of a training: arms of one fold start from the same weights."""
        return prepared(self.config.recipe, self.config.steps, job.seed * self.config.folds + job.fold)

    def plan(self, job: Job) -> tuple[MixedPlan, Ints]:
        """The batches of a training, and the real rows that are held out."""
        folds = self.folds(job.kind, job.seed)
        held, seen = folds == job.fold, (folds >= 0) & (folds != job.fold)
        real = np.flatnonzero(seen).astype(np.int64)
        recipe, translated = self.recipe(job), None
        if job.arm:
            added = self.sets[job.arm]
            rows = added.allowed(seen)
            if not len(rows):
                raise InputError(f"{added.dataset.uri} has no translation of the training images of fold {job.fold}")
            translated = (rows, added.labels[rows])
        plan = mixed_plan(
            recipe.data.shape,
            recipe.train.seed,
            self.config.share,
            (real, self.labels[real]),
            translated,
            len(self.dataset),
        )
        return plan, np.flatnonzero(held).astype(np.int64)

    def assert_apart(self, job: Job, plan: MixedPlan, held_out: Ints) -> None:
        """Nothing that is held out is trained on: no image, no translation of one, and for ``people`` no person."""
        real = len(self.dataset)
        trained = plan.rows[plan.rows < real]
        if job.arm:
            origins = self.sets[job.arm].origins[plan.rows[plan.rows >= real] - real]
            trained = np.union1d(trained, origins[origins >= 0])
        assert not np.isin(trained, held_out).any(), f"{job}: a held-out image, or a translation of one, is trained on"
        if job.kind == "people":
            both = np.intersect1d(self.persons[trained], self.persons[held_out])
            assert not len(both), f"{job}: held-out people are trained on: {both[:3]}"

    def make(self) -> Images:
        """The decoded images of a process."""
        return Images(self.config.recipe.data.size)

    def write(self, start: int, images: Images) -> None:
        """Train, test and store."""
        job = self.jobs[start]
        plan, held_out = self.plan(job)
        self.assert_apart(job, plan, held_out)
        real = images.of(self.dataset)
        parts = (real, images.of(self.sets[job.arm].dataset)) if job.arm else (real,)
        domains = self.dataset.manifest.domains
        logits = train_and_test(self.recipe(job), len(domains), parts, plan, real[held_out])
        columns = {"row": pa.array(held_out)}
        columns |= {f"logit_{name}": pa.array(logits[:, k]) for k, name in enumerate(domains)}
        write_table(self.where(start), pa.table(columns))

    def stored(self, start: int) -> bool:
        """Whether a training is stored whole."""
        return self.read(start) is not None

    def read(self, start: int) -> tuple[Ints, Logits] | None:
        """Held-out rows (n,) and their logits (n, K), or None where they are missing or damaged."""
        try:
            table = pq.read_table(storage.open_input(self.where(start)))
            names = [f"logit_{name}" for name in self.dataset.manifest.domains]
            logits = np.stack([table[name].to_numpy() for name in names], axis=1)
            return table["row"].to_numpy(), logits
        except (storage.StorageError, pa.ArrowInvalid, KeyError, OSError):
            return None

    def where(self, start: int) -> str:
        """The file of a training; all that decides its numbers is in the name."""
        job = self.jobs[start]
        recipe = self.recipe(job)
        parts = [to_json(part) for part in (recipe.method, recipe.data, recipe.train)]
        told: list[object] = [self.dataset.manifest.content_hash, *parts]
        told += [job.kind, job.seed, job.fold, self.config.folds]
        if job.arm:
            told += [self.sets[job.arm].digest, self.config.share]
        return storage.join(self.folder, hashlib.sha256(json.dumps(told).encode()).hexdigest()[:24] + ".parquet")
