"""Who scores which rows: one classifier for all, or one for each fold, which has never seen the fold's labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stargan_ray.data.folds import fold_of
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.score_store import Blocks, score_dataset
from stargan_ray.runtime.scoring import Scorer, Scores, model_scorer


@dataclass(frozen=True)
class Panel:
    """The classifiers that score a data set.

    Args:
        scorers: one for every row; or, cross-fitted, one for each fold in the order of folds.
        crossed: whether each scores its own fold alone.
    """

    scorers: tuple[Scorer, ...]
    crossed: bool = False

    def __post_init__(self) -> None:
        """Refuse classifiers whose columns mean different things."""
        assert self.crossed or len(self.scorers) == 1
        for other in self.scorers[1:]:
            if other.classes != self.scorers[0].classes:
                raise InputError(
                    f"{other.name} knows {', '.join(other.classes)}, {self.scorers[0].name} knows "
                    f"{', '.join(self.classes)}: the classifiers of all folds must know the same"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """What the columns of the scores mean."""
        return self.scorers[0].classes

    @property
    def name(self) -> str:
        """What the refined data set says of it."""
        return " | ".join(scorer.name for scorer in self.scorers)

    def has_seen(self, dataset: Dataset) -> bool:
        """Whether a classifier judges labels that it was trained on."""
        return not self.crossed and self.scorers[0].data_hash == dataset.manifest.content_hash

    def score(
        self,
        dataset: Dataset,
        folder: str,
        *,
        parallel: int = 1,
        block: int = BLOCK,
        on_scored: Callable[[int], None] = lambda _: None,
    ) -> Scores:
        """(N, K) probabilities of every row, NaN where an image cannot be decoded; see ``score_dataset``."""
        if not self.crossed:
            return score_dataset(Blocks(dataset, self.scorers[0], folder, block), parallel, on_scored)
        scores = np.full((len(dataset), len(self.classes)), np.nan, np.float32)
        for scorer, rows in zip(self.scorers, self._shares(dataset), strict=True):
            scores[rows] = score_dataset(Blocks(dataset, scorer, folder, block, rows), parallel, on_scored)[rows]
        return scores

    def _shares(self, dataset: Dataset) -> list[npt.NDArray[np.int64]]:
        """The rows of each fold."""
        fold = fold_of(dataset.index["content_hash"].to_pylist(), len(self.scorers))
        return [np.flatnonzero(fold == number) for number in range(len(self.scorers))]


def open_panel(classifiers: Sequence[str]) -> Panel:
    """The panel of some trained classifiers.

    Args:
        classifiers: one, or those of all folds of a cross-fitting in any order; each as ``load_model`` takes it.

    Raises:
        InputError: one is not there or no expression classifier, several are not the folds of one cross-fitting,
            or a single one is a fold of a larger one.
    """
    scorers = [model_scorer(where) for where in classifiers]
    if len(scorers) == 1 and not scorers[0].folds:
        return Panel(tuple(scorers))
    told = ", ".join(f"{s.name}: fold {s.fold} of {s.folds}" if s.folds else f"{s.name}: no fold" for s in scorers)
    if {s.folds for s in scorers} != {len(scorers)} or len({s.fold for s in scorers}) != len(scorers):
        raise InputError(
            f"classifiers of different folds are needed, as many as there are folds, or one of none: {told}"
        )
    return Panel(tuple(sorted(scorers, key=lambda scorer: scorer.fold)), crossed=True)
