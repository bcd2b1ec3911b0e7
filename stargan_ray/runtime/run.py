"""One run as it is asked for: what to compute, of what, and where it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stargan_ray.config import Recipe
from stargan_ray.data import storage
from stargan_ray.runtime.dlib_identity import DLIB
from stargan_ray.runtime.feature_use import IMAGENET
from stargan_ray.runtime.pretrained import absolute_weights
from stargan_ray.training.checkpoint import Checkpoints


@dataclass(frozen=True)
class Run:
    """One run, as it travels to the workers.

    Attributes:
        recipe: what to compute.
        data: URI of an ingested or refined data set.
        storage: URI under which the run's folder lies.
        name: of the run; the same name and storage continue it.
        helpers: helper name -> model (folder, run, URI or ``models:/…``), for the methods that need one.
        judge: a classifier for choosing the best checkpoint of a translator; empty = none.
        init: model or checkpoint whose weights a new run starts from; empty = the seed's.
        embeddings: whether f(source) is read from beside the data (``jobs/embed.py``) instead of computed in each
            step. It is the same number but for rounding, so a run may go on with or without.
        tags: of the MLflow run, besides those that every run has.
    """

    recipe: Recipe
    data: str
    storage: str
    name: str
    helpers: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""
    init: str = ""
    embeddings: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

    def absolute(self) -> Run:
        """The same run with local paths that hold in any working directory: workers have their own."""
        return replace(
            self,
            recipe=absolute_weights(self.recipe),
            data=storage.absolute(self.data),
            storage=storage.absolute(self.storage),
            helpers={name: absolute_model(where) for name, where in self.helpers.items()},
            judge=absolute_model(self.judge),
            init=absolute_model(self.init),
        )

    @property
    def uri(self) -> str:
        """The run's folder."""
        return storage.join(self.storage, self.name)

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        config = self.recipe.train
        return Checkpoints(storage.join(self.uri, "checkpoints"), config.best, config.higher_is_better)


def each_fold(run: Run, folds: int) -> list[Run]:
    """The runs of a cross-fitting: one that leaves out each fold, named after it."""
    recipe = run.recipe
    return [
        replace(
            run,
            recipe=replace(recipe, data=replace(recipe.data, folds=folds, fold=fold)),
            name=f"{run.name}-fold-{fold}",
        )
        for fold in range(folds)
    ]


def absolute_model(where: str) -> str:
    """A model's place that holds in any working directory; what is no path stays as it is."""
    return where if where in ("", DLIB, IMAGENET) or where.startswith("models:") else storage.absolute(where)
