"""A search by Ray Tune: trials that train and are judged side by side, the worse ones stopped half-way.

The ledger on storage is all that a later call needs: what is over teaches the sampler and the scheduler, what was cut
off goes on first. Tune's own state is not used for that, since it is written only now and then, is bound to the
program that pickled it, and cannot take more trials than were asked for at first.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import stargan_ray
from stargan_ray.config import flatten
from stargan_ray.data import storage
from stargan_ray.data.shards import open_dataset
from stargan_ray.errors import InputError
from stargan_ray.methods.base import Translator
from stargan_ray.recipes.searches import Search
from stargan_ray.runtime import launch
from stargan_ray.runtime.examination import Docket
from stargan_ray.runtime.judges import JudgeModels, refuse_trainers
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.mlflow_store import tracking_uri
from stargan_ray.runtime.run import absolute_model
from stargan_ray.runtime.search_ledger import OVER, Ledger, Trial, trial_of
from stargan_ray.runtime.search_record import SearchRecord
from stargan_ray.runtime.search_report import write_report
from stargan_ray.runtime.search_room import process_bundle, room_for
from stargan_ray.runtime.search_table import SearchTable
from stargan_ray.runtime.search_trial import Task, tune_trial
from stargan_ray.runtime.strangers import require_judged_strangers

_IN_A_ROW = 3  # trials that fail for another reason than diverging: the fault is not theirs
_CRASHES = 2  # of a trial's process before the trial counts as failed
Scheduler = Literal["asha", "median", "none"]


@dataclass(frozen=True)
class Job:
    """A search as it is asked for.

    Attributes:
        search: what is varied.
        data: URI of the data set that is learnt from.
        judged: URI of the data set whose people a checkpoint is judged on.
        storage: URI under which the search's folder lies.
        name: of the search; the same name and storage continue it.
        trials: in all.
        helpers: name -> model, for the methods that need one.
        judge: classifier for choosing the best checkpoint of a translator.
        expression_judge, identity_judge: of translators; they must not have trained anything here.
        split, people, translations: of ``judged``.
        scheduler: which trials are stopped early: by successive halving, below the median, or none.
        first_rung: share of the training after which a trial may be stopped.
        parallel: trials at once; 0 = as many as fit.
        seed: of the sampler.
    """

    search: Search
    data: str
    judged: str
    storage: str
    name: str
    trials: int = 16
    helpers: Mapping[str, str] = field(default_factory=dict)
    judge: str = ""
    expression_judge: str = ""
    identity_judge: str = ""
    split: str = "val"
    people: int = 100
    translations: int = 800
    scheduler: Scheduler = "asha"
    first_rung: float = 0.5
    parallel: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no search."""
        if self.trials < len(self.search.anchors) or self.parallel < 0:
            raise InputError(
                f"--trials {self.trials}, --parallel {self.parallel}: allowed are >= {len(self.search.anchors)} (the "
                f"points that are always tried: {', '.join(self.search.anchors)}) and >= 0"
            )
        if not 0 < self.first_rung <= 1:
            raise InputError(f"--first-rung {self.first_rung}: allowed is 0 < share <= 1")
        if self.translates and not (self.expression_judge and self.identity_judge):
            raise InputError("--expression-judge, --identity-judge: both are needed to judge translators")

    @property
    def translates(self) -> bool:
        """Whether it is translators that are searched."""
        return isinstance(self.search.recipe.method, Translator)


def search(job: Job, *, stop: threading.Event, table: SearchTable, say: Any = print) -> list[Trial]:
    """Try points until there are as many as asked for.

    Args:
        job: the search.
        stop: once set, running trials end where their last checkpoint stands.
        table: shows the trials; not entered yet.
        say: told in a sentence what is about to start.

    Returns:
        All trials of the ledger.

    Raises:
        InputError: something given cannot be used, nothing fits the cluster, or trial after trial fails.
        KeyboardInterrupt: ``stop`` is set.
    """
    task = open_task(job)
    fresh = not task.ledger.all()
    require_same(task.ledger, job, task)
    known, queue = _plan(job, task.ledger)
    os.environ.setdefault("MLFLOW_TRACKING_URI", tracking_uri())  # the same store for all processes
    launch.prepare()
    for run in task.runs((queue or known)[0])[-1:] if job.search.embedder is None else ():
        launch.check(run)  # what cannot be trained is said before Tune starts anything
    room = room_for(job.search.trained({}), job.parallel)
    say(f"{job.trials} trials, {len(known)} of them are over; {room.said}; judged at steps {_steps(task)}")
    record = SearchRecord(job.name, parameters(job, task), tags_of(job, task), fresh=fresh)
    status = "FAILED"
    try:
        task = replace(task, tags={"stargan_ray.search": job.name, **record.nested()})
        with table:
            table.known(known)
            watch = _Watch(task, table, record, known, stop)
            if missing := job.trials - len(known):
                _tune(job, task, queue, known, missing, room.at_once, watch)
        if stop.is_set():
            status = "KILLED"
            raise KeyboardInterrupt
        if watch.broken:
            raise InputError(
                f"{_IN_A_ROW} trials in a row failed, the last one: {watch.broken}; the same command goes on"
            )
        status = "FINISHED"
        return task.ledger.all()
    finally:
        record.close(status, write_report(job, task.ledger.all(), task.uri))


def open_task(job: Job) -> Task:
    """What the trials share, with every place absolute and every judge resolved.

    Raises:
        InputError: something given cannot be used.
    """
    uri = storage.absolute(storage.join(job.storage, job.name))
    storage.check_writable(uri)
    dataset = open_dataset(job.judged)
    size = job.search.recipe.data.size
    docket = Docket(dataset.uri, dataset.manifest.content_hash, size, job.split, job.people, job.translations)
    judges = None
    if job.translates:
        trainers = {**job.helpers, "checkpoint-choosing": job.judge}
        refuse_trainers({"expression": job.expression_judge, "identity": job.identity_judge}, trainers)
        judges = JudgeModels.of(job.expression_judge, job.identity_judge)
        for model in judges.models():
            require_judged_strangers(docket, model.meta)
        docket.court()
    helpers = {name: absolute_model(where) for name, where in job.helpers.items()}
    data, judge = storage.absolute(job.data), absolute_model(job.judge)
    return Task(job.search, data, uri, job.name, docket, judges, _rungs(job), helpers, judge)


def _rungs(job: Job) -> tuple[int, ...]:
    """Steps at which a trial is judged: each twice as far as the one before, where a checkpoint is written."""
    train = job.search.recipe.train
    share, rungs = job.first_rung, {train.steps}
    while share < 1:
        every = train.checkpoint_every
        rungs.add(min(train.steps, max(every, round(share * train.steps / every) * every)))
        share *= 2
    return tuple(sorted(rungs))


def _plan(job: Job, ledger: Ledger) -> tuple[list[Trial], list[Trial]]:
    """What is over, and what comes first: trials that were cut off, then points that must be tried."""
    found = ledger.all()
    known = [trial for trial in found if trial.status in OVER]
    cut = [trial for trial in found if trial.status not in OVER]
    keys = {trial.key for trial in found}
    order = max((trial.order for trial in found), default=-1)
    fixed = []
    for label, fields in job.search.anchors.items():
        trial = trial_of(job.search, fields, label, order + 1)
        if trial.key not in keys:
            keys.add(trial.key)
            order += 1
            fixed.append(trial)
    return known, (cut + fixed)[: max(0, job.trials - len(known))]


def require_same(ledger: Ledger, job: Job, task: Task, more: Mapping[str, Any] = MappingProxyType({})) -> None:
    """A folder holds one search: figures of other data, judges or people do not belong beside each other.

    Args:
        ledger: of the folder.
        job: the search.
        task: of it.
        more: further facts that must not change.

    Raises:
        InputError: an earlier call had another one of them.
    """
    told = {
        **more,
        "recipe": _fixed(job.search),
        "data": open_dataset(task.data).manifest.content_hash,
        "judged": [task.docket.content_hash, job.split, job.people, job.translations],
        "judges": list(task.judges.hashes()) if task.judges else [],
        "rungs": list(task.rungs),
    }
    where = storage.join(ledger.uri, "search.json")
    if storage.exists(where):
        before = json.loads(storage.read_bytes(where))
        recipe = {**told["recipe"], **before.pop("recipe")}
        changed = [path for path, value in told["recipe"].items() if recipe[path] != value]
        changed += [name for name, value in before.items() if told.get(name) != value]
        if changed:
            raise InputError(f"--name {job.name} is a search with other {changed[0]} than now: choose another name")
        told["recipe"] = recipe
    storage.write_bytes(where, json.dumps(told).encode())


def _fixed(search: Search) -> dict[str, Any]:
    """The recipe without what is searched: the ranges may change between calls, the rest may not."""
    flat = flatten(search.recipe)
    return {
        path: value
        for path, value in flat.items()
        if not path.startswith(("method.lambda_id.", "scale."))
        and path not in search.space
        and path not in ("name", "about")
    }


def _steps(task: Task) -> str:
    return ", ".join(map(str, task.rungs))


def parameters(job: Job, task: Task) -> dict[str, Any]:
    """What MLflow is told of a search."""
    space = {f"space.{path}": repr(dimension) for path, dimension in job.search.space.items()}
    own = {"search": job.search.name, "trials": job.trials, "scheduler": job.scheduler, "rungs": _steps(task)}
    return {**own, **space, **flatten(job.search.recipe)}


def tags_of(job: Job, task: Task) -> dict[str, str]:
    """Where a search comes from, for MLflow."""
    told = {"commit": commit(), "data_hash": open_dataset(task.data).manifest.content_hash}
    return {**told, "version": stargan_ray.__version__, "stargan_ray.search": job.name}


def _tune(
    job: Job, task: Task, queue: Sequence[Trial], known: Sequence[Trial], missing: int, at_once: int, watch: _Watch
) -> None:
    """Hand the missing trials to Ray Tune."""
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is the job's
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"  # the spool and a local MLflow are where the job runs
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # it shows a box of its own at any verbosity
    from ray import tune

    from stargan_ray.runtime.searcher import OptunaSearcher

    bundle = process_bundle(tracking_uri())
    trainable = tune.with_resources(tune.with_parameters(tune_trial, task=task), tune.PlacementGroupFactory([bundle]))
    with tempfile.TemporaryDirectory(prefix="tune-", ignore_cleanup_errors=True) as temporary:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearcher(job.search, queue, known, job.seed),
                scheduler=scheduler_of(job.scheduler, task.rungs, known),
                num_samples=missing,
                max_concurrent_trials=at_once,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=job.name,
                storage_path=temporary,
                stop=watch.stopper(),
                callbacks=[watch.callback()],
                failure_config=tune.FailureConfig(max_failures=_CRASHES),
                verbose=0,
                log_to_file=False,
            ),
        ).fit()


class _Nobody:
    """The controller of trials that are over: none of them is alive."""

    @staticmethod
    def get_live_trials() -> set[Any]:
        """None."""
        return set()


class _Known(NamedTuple):
    """All that a scheduler asks of a trial."""

    trial_id: str


def _name(trial: Any) -> str:
    return f"{trial.config['trial'].key}-{trial.trial_id}"


def scheduler_of(name: Scheduler, rungs: tuple[int, ...], known: Sequence[Trial]) -> Any:
    """Which trials are stopped before their end, judged beside all that earlier calls have found at the same steps."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

    common = {"time_attr": "step", "metric": "score", "mode": "max", "grace_period": rungs[0]}
    if name == "none" or len(rungs) == 1:
        return FIFOScheduler()
    if name == "median":
        # Its time slice is how long a trial runs before it makes room for others: for ever, pausing costs a start.
        scheduler: Any = MedianStoppingRule(**common, min_samples_required=3, min_time_slice=1 << 40)
    else:
        scheduler = ASHAScheduler(**common, max_t=rungs[-1], reduction_factor=2)
    for trial in known:
        told = _Known(trial.key)
        scheduler.on_trial_add(_Nobody, told)
        for rung in trial.rungs:
            scheduler.on_trial_result(_Nobody, told, {"step": rung.step, **rung.values})
    return scheduler


class _Watch:
    """Follows the trials in the driver: the table, MLflow, and when to end."""

    def __init__(
        self, task: Task, table: SearchTable, record: SearchRecord, known: Sequence[Trial], stop: threading.Event
    ) -> None:
        self._task, self._table, self._record, self._stop = task, table, record, stop
        self._trials = {trial.key: trial for trial in known}
        self._failed = 0
        self.broken = ""

    def __reduce__(self) -> Any:
        """Tune pickles all that it is given, to restore it one day; the ledger restores, and this is left out."""
        return object, ()

    def began(self, trial: Trial) -> None:
        """A trial has started."""
        self._see(replace(self._task.ledger.find(trial.key) or trial, status="running"))

    def went_on(self, trial: Trial) -> None:
        """A trial was judged."""
        if found := self._task.ledger.find(trial.key):
            self._see(found)

    def ended(self, trial: Trial, crash: str = "") -> None:
        """A trial is over, whether it says so itself or was stopped."""
        found = self._task.ledger.find(trial.key) or trial
        if found.status == "running" and not self._stop.is_set():
            found = replace(found, status="failed" if crash else "stopped", why=crash)
            self._task.ledger.write(found)
        self._failed = self._failed + 1 if found.status == "failed" else 0
        if self._failed >= _IN_A_ROW:
            self.broken = found.why
        self._see(found)
        if found.status != "running":
            self._record.over(found, self._task.runs(found)[-1].name, list(self._trials.values()))

    def _see(self, trial: Trial) -> None:
        if self._trials.get(trial.key) != trial:  # Tune tells of the last rung and of the end
            self._trials[trial.key] = trial
            self._table.show(trial)

    def stopper(self) -> Any:
        """Ends all trials once asked to, or when trial after trial fails."""
        from ray.tune import Stopper

        watch = self

        class Ends(Stopper):  # type: ignore[misc]
            def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002 - the shape of a stopper
                return False

            def stop_all(self) -> bool:
                return bool(watch._stop.is_set() or watch.broken)

        return Ends()

    def callback(self) -> Any:
        """What Tune tells."""
        from ray.tune import Callback

        watch = self

        class Tells(Callback):  # type: ignore[misc]
            def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:  # noqa: ARG002
                watch.began(trial.config["trial"])

            def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:  # noqa: ARG002
                watch.went_on(trial.config["trial"])

            def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:  # noqa: ARG002
                watch.ended(trial.config["trial"])

            def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:  # noqa: ARG002
                watch.ended(trial.config["trial"], "its process died again and again (out of memory?)")

        return Tells()
