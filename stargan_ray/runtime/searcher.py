"""Optuna under Ray Tune: first the points that must be tried, then what the sampler makes of all that is known.

Ray's own ``OptunaSearch`` cannot be told what was found before with two objectives, nor of a point outside of the
space, such as no identity loss on a logarithmic scale; hence this one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from ray.tune.search import Searcher

from stargan_ray.errors import InputError
from stargan_ray.recipes.searches import Search
from stargan_ray.recipes.space import Dimension, Range
from stargan_ray.runtime.search_ledger import Trial, trial_of

_TRIES = 20  # of drawing a point that is new; a space of few choices is exhausted sooner


class Ending(Protocol):
    """Who knows when a search is to end."""

    @property
    def ending(self) -> bool:
        """Whether it is."""
        ...


class OptunaSearcher(Searcher):  # type: ignore[misc]
    """Suggests the queue, then draws by the tree-structured Parzen estimator for two objectives.

    Args:
        search: what is varied.
        queue: trials to begin or to go on with, first.
        known: trials that are over: they teach the sampler and are not drawn again.
        seed: of the sampler.
        watch: whether no further trial is to begin; None = never.
    """

    def __init__(
        self, search: Search, queue: Sequence[Trial], known: Sequence[Trial], seed: int, watch: Ending | None = None
    ) -> None:
        super().__init__(metric=list(search.objectives), mode=["max", "max"])
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        # Many points are drawn at random before there is anything to learn from; half a dozen are enough here.
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6, multivariate=True)
        self.study = optuna.create_study(sampler=sampler, directions=["maximize", "maximize"])
        self._search, self._watch = search, watch
        self._space = {path: distribution(dimension) for path, dimension in search.space.items()}
        self._queue = list(queue)
        self._keys = {trial.key for trial in (*queue, *known)}
        self._order = max((trial.order for trial in (*queue, *known)), default=-1) + 1
        self._asked: dict[str, tuple[Trial, optuna.Trial | None]] = {}
        for trial in known:
            self._tell(trial, trial.last)

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next point as ``{"trial": …}``, or that there is none left."""
        if self._watch is not None and self._watch.ending:
            return Searcher.FINISHED
        if self._queue:
            trial, asked = self._queue.pop(0), None
        else:
            found = self._draw()
            if found is None:
                return Searcher.FINISHED
            trial, asked = found
        self._asked[trial_id] = trial, asked
        return {"trial": trial}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing is learnt before the end: with two objectives Optuna takes final values only."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the sampler; a trial that was stopped early counts with what it had reached."""
        trial, asked = self._asked.pop(trial_id)
        values = {} if error or not result else result
        if asked is None:
            self._tell(trial, values)
            return
        both = self._both(values)
        if both is None:
            self.study.tell(asked, state=TrialState.FAIL)
        else:
            self.study.tell(asked, both)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger has it all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see ``save``."""

    def _draw(self) -> tuple[Trial, optuna.Trial] | None:
        for _ in range(_TRIES):
            asked = self.study.ask(self._space)
            try:
                trial = trial_of(self._search, asked.params, order=self._order)
            except InputError:  # fields that exclude each other in a way that the ends did not show
                self.study.tell(asked, state=TrialState.FAIL)
                continue
            if trial.key not in self._keys:
                self._keys.add(trial.key)
                self._order += 1
                return trial, asked
            self.study.tell(asked, state=TrialState.FAIL)
        return None

    def _tell(self, trial: Trial, values: Mapping[str, float]) -> None:
        """Add a point that the sampler did not draw, where it lies in the space."""
        params = self._search.values_at(trial.fields)
        if any(value not in self._search.space[path] for path, value in params.items()):
            return
        both = self._both(values)
        state = TrialState.FAIL if both is None else TrialState.COMPLETE
        self.study.add_trial(
            optuna.trial.create_trial(state=state, values=both, params=params, distributions=self._space)
        )

    def _both(self, values: Mapping[str, float]) -> list[float] | None:
        """Both objectives, or None where a trial never came to be judged."""
        names = self._search.objectives
        return [values[name] for name in names] if all(name in values for name in names) else None


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension as Optuna has it."""
    if not isinstance(dimension, Range):
        return CategoricalDistribution(dimension.values)
    if dimension.step:
        low, high = dimension.ends
        return IntDistribution(low, high, log=dimension.log, step=dimension.step)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)
