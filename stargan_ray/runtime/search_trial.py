"""One trial in a process of Ray Tune: train what a point stands for, judge it at each rung, say so.

Training is a run like any other (``launch.fit``), with checkpoints of its own, so a trial that was cut off goes on from
its last one, and what was judged before is reported again without being judged again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rich.progress import Progress

from stargan_ray.data import storage
from stargan_ray.errors import DivergedError, InputError
from stargan_ray.evaluation.pareto import harmonic_mean
from stargan_ray.recipes.searches import Search
from stargan_ray.runtime import launch
from stargan_ray.runtime.examination import Docket
from stargan_ray.runtime.judges import JudgeModels
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.search_judge import EmbedderExaminer, Examiner, TranslatorExaminer
from stargan_ray.runtime.search_ledger import Ledger, Status, Trial

_POLL_S = 1.0  # between looks for a checkpoint
_TRIES = 5  # of reading one that a newer one may have replaced meanwhile
LOST = "lost"  # in what a trial reports: why it cannot reach storage, which it therefore cannot tell the ledger


@dataclass(frozen=True)
class Task:
    """What all trials of a search share; it travels to their processes.

    Attributes:
        search: what is varied.
        data: URI of the data set that is learnt from.
        uri: ``<storage>/<name>`` of the search, absolute.
        name: of the search.
        docket: whom a checkpoint is judged on.
        judges: who judge translators; None for embedders.
        rungs: steps of the last training at which it is judged, ascending; the last is its end.
        helpers: name -> model, for the methods that need one.
        judge: classifier for choosing the best checkpoint of a translator; empty = none.
        tags: of the MLflow runs.
    """

    search: Search
    data: str
    uri: str
    name: str
    docket: Docket
    judges: JudgeModels | None
    rungs: tuple[int, ...]
    helpers: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        """What was tried."""
        return Ledger(self.uri)

    def score(self, figures: Mapping[str, float]) -> float:
        """The harmonic mean of both objectives."""
        first, second = self.search.objectives
        return harmonic_mean(figures[first], figures[second])

    def runs(self, trial: Trial) -> tuple[Run, ...]:
        """The runs of a trial in their order; the last one is judged."""
        *first, last = self.search.trained(trial.fields)
        tags = {**self.tags, "stargan_ray.trial": trial.label or trial.key}
        runs = [Run(recipe, self.data, self.uri, f"{self.name}-{trial.key}-embedder", tags=tags) for recipe in first]
        asked = {**self.helpers, **({"identity": runs[0].uri} if runs else {})}
        helpers = {name: where for name, where in asked.items() if name in last.method.helpers}
        run = Run(last, self.data, self.uri, f"{self.name}-{trial.key}", helpers, self.judge, tags=tags)
        return (*runs, run.absolute())

    def examiner(self) -> Examiner:
        """Who judges the checkpoints."""
        if self.judges is None:
            return EmbedderExaminer(self.docket)
        return TranslatorExaminer.of(self.docket, self.judges, storage.join(self.uri, "seen"))


def tune_trial(config: Mapping[str, Any], task: Task) -> None:
    """What Ray Tune calls: ``config["trial"]`` is the point; it ends well whatever becomes of the training.

    A full disk or a store that stays away is no end of the trial, which goes on with the next call: the driver is told.
    """
    from ray import tune

    def report(step: int, values: Mapping[str, float]) -> None:
        tune.report({"step": step, **values})

    try:
        carry_out(task, config["trial"], report)
    except storage.StorageError as error:
        tune.report({LOST: " ".join(str(error).split())})


def carry_out(task: Task, trial: Trial, report: Callable[[int, Mapping[str, float]], None]) -> Trial:
    """Train and judge a point, from where an earlier call was cut off; the ledger always has how it stands.

    Args:
        task: of the search.
        trial: the point.
        report: told of each rung, also of those that an earlier call has judged.

    Returns:
        The trial at its end: ``finished``, ``diverged`` or ``failed``.

    Raises:
        StorageError: storage cannot be read or written, which would fail every other trial too; the ledger has this
            one as it stood before.
    """
    trial = replace(task.ledger.find(trial.key) or trial, status="running", why="")
    task.ledger.write(trial)
    for rung in trial.rungs:
        report(rung.step, rung.values)
    start, before = time.perf_counter(), trial.seconds
    try:
        for step, figures in _judged(task, trial):  # each of its steps looks first whether it is to end
            spent = before + time.perf_counter() - start
            # Before the report: a scheduler may end this process while it is told of the last rung.
            status: Status = "finished" if step == task.rungs[-1] else "running"
            trial = replace(trial.with_rung(step, figures, task.search.objectives), seconds=spent, status=status)
            task.ledger.write(trial)
            report(step, trial.last)
        trial = replace(trial, status="finished")
    except _ToldToEndError:
        trial = task.ledger.find(trial.key) or trial  # stopped by the scheduler, or still running: a later call goes on
    except DivergedError as error:
        trial = replace(trial, status="diverged", why=str(error))
    except storage.StorageError:
        raise
    except (InputError, OSError) as error:
        trial = replace(trial, status="failed", why=" ".join(str(error).split()))
    except Exception as error:  # a fault of ours: Tune shows its traceback to nobody, so the ledger says what it was
        why = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        task.ledger.write(replace(trial, status="failed", why=why))
        raise
    trial = replace(trial, seconds=before + time.perf_counter() - start)
    task.ledger.write(trial)
    return trial


def _judged(task: Task, trial: Trial) -> Iterator[tuple[int, dict[str, float]]]:
    """The figures of each rung that has none yet, while training goes on."""
    left = [step for step in task.rungs if step > trial.step]
    if not left:
        return
    *first, run = task.runs(trial)

    def told_to_end() -> bool:
        found = task.ledger.find(trial.key)
        return task.ledger.asked_to_end() or (found is not None and found.status == "stopped")

    for each in first:
        with _Training(each, told_to_end) as training:
            training.wait_for(each.recipe.train.steps)
    examiner = task.examiner()  # before the training's thread begins: both import, and could wait for each other
    with _Training(run, told_to_end) as training:
        for step in left:
            training.wait_for(step)
            yield step, _examined(examiner, run, last=step == task.rungs[-1])


def _examined(examiner: Examiner, run: Run, *, last: bool) -> dict[str, float]:
    """The best checkpoint at the end, as whoever takes the run finds it; before it the newest."""
    for attempt in range(_TRIES):
        where = run.uri if last else storage.join(run.checkpoints.uri, run.checkpoints.names()[-1])
        try:
            return examiner(where)
        except (InputError, storage.StorageError, OSError):
            # Only the latest two and the best are kept: a slow reader may find that its one has gone.
            if storage.exists(storage.join(where, "meta.json")) or attempt == _TRIES - 1:
                raise
    raise AssertionError


class _ToldToEndError(Exception):
    """The trial is not to go on."""


class _Training:
    """The run's training beside the judging of its checkpoints; it has ended when the context has.

    Args:
        run: to train; what is trained already costs nothing.
        told_to_end: asked again and again while it is waited for.
    """

    def __init__(self, run: Run, told_to_end: Callable[[], bool]) -> None:
        self._run, self._told_to_end = run, told_to_end
        self._stop, self._error = threading.Event(), list[BaseException]()
        self._thread = threading.Thread(target=self._train, daemon=True, name="training")

    def __enter__(self) -> _Training:
        """Begin to train."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End with a checkpoint, if it has not ended."""
        self._stop.set()
        self._thread.join()

    def wait_for(self, step: int) -> None:
        """Until there is a checkpoint of the step, or for the last one until all is done.

        Raises:
            _ToldToEndError: the trial was told to end.
            BaseException: what ended the training.
        """
        last = step >= self._run.recipe.train.steps
        while True:
            if self._told_to_end():
                raise _ToldToEndError
            if not self._thread.is_alive() or (not last and _reached(self._run) >= step):
                break
            self._thread.join(_POLL_S)
        if self._error:
            raise self._error[0]

    def _train(self) -> None:
        try:
            if _reached(self._run) < self._run.recipe.train.steps:
                launch.fit(self._run, progress=_quiet(), stop=self._stop)
        except BaseException as error:
            self._error.append(error)


def _reached(run: Run) -> int:
    names = run.checkpoints.names()
    return int(names[-1].removeprefix("step-")) if names else 0


def _quiet() -> Progress:
    """A display that shows nothing: there are several trials, and their table is the driver's."""
    return Progress(disable=True)
