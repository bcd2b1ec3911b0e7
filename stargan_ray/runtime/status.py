"""How runs and searches stand, found out from their folders alone: no Ray, no MLflow, no PyTorch, no writing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from stargan_ray.data import storage
from stargan_ray.errors import InputError, unknown
from stargan_ray.runtime.saved import Saved, best_of, saved_checkpoints
from stargan_ray.runtime.standing import Event, Report, Standing, event_names, kind_of, read_event
from stargan_ray.runtime.trials import OVER, TrialSeen, read_trials
from stargan_ray.runtime.watching import AT_ONCE, Look, Seen, Watcher

Kind = Literal["run", "search"]
_SEARCH = {"search.json", "trials", "population.json"}
_RUN = {"watch", "checkpoints"}
_QUIET_S = 60.0  # without a report, and five times as long as between the others: worth a word
_TOLD = 5  # errors, restarts and ends
_BESIDES = ("rate/", "schedule/", "speed/", "memory/", "val/")


@dataclass(frozen=True)
class Status:
    """What can be said of a run or a search.

    Attributes:
        name: of it.
        kind: of it.
        state: ``silent`` = it was neither finished nor stopped and nobody writes any more: it was killed.
        since: when the state began, seconds since 1970; of one that trains: its call; 0 = not known.
        step: that was reached, of ``unit``.
        steps: that are wanted; 0 = not known.
        unit: what is counted: steps, or trials.
        images_per_second: over the last reports, validation and checkpoints left out; 0 = not known.
        steps_per_second: over the last reports, all included; 0 = not known.
        data_wait_share: of rank 0, mean over the last reports.
        left_s: until the end at this rate, seconds; None = not known.
        workers: that train.
        host: of the writer.
        losses: the last of each term; of a search the figures of its best.
        validation: figures of the last validation.
        validated: its step; 0 = not known.
        latest, best: checkpoints.
        restarts: of the workers in the last call.
        calls: that began or continued it.
        events: the last errors, restarts and ends, oldest first.
        why: it failed.
        notes: what a person should know besides.
        runs: those of a search that train now.
        trials: of a search.
    """

    name: str
    kind: Kind
    state: Seen
    since: float = 0.0
    step: int = 0
    steps: int = 0
    unit: str = "steps"
    images_per_second: float = 0.0
    steps_per_second: float = 0.0
    data_wait_share: float = 0.0
    left_s: float | None = None
    workers: int = 0
    host: str = ""
    losses: Mapping[str, float | None] = field(default_factory=dict)
    validation: Mapping[str, float | None] = field(default_factory=dict)
    validated: int = 0
    latest: Saved | None = None
    best: Saved | None = None
    restarts: int = 0
    calls: int = 0
    events: tuple[Event, ...] = ()
    why: str = ""
    notes: tuple[str, ...] = ()
    runs: tuple[Status, ...] = ()
    trials: tuple[TrialSeen, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.state != "training"


def status_of(root: str, name: str, watcher: Watcher) -> Status:
    """One run or search.

    Args:
        root: URI under which its folder lies.
        name: of it; a run of a search is ``SEARCH/RUN``.
        watcher: the same for all looks of a process.

    Raises:
        InputError: there is none, or storage cannot be read.
    """
    parts = [part for part in name.split("/") if part]
    uri = storage.join(root, *parts)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        kind = _kind(uri) if parts and ".." not in parts else None
        if kind is None:
            raise _none(root, name, pool)
        (look,) = watcher.look([uri])
        return _search(name, look, watcher, pool) if kind == "search" else _run(name, look, pool)


def all_statuses(root: str, watcher: Watcher) -> list[Status]:
    """Every run and search directly under a URI, the newest last; what costs many requests is left out.

    Raises:
        InputError: there is none, or storage cannot be read.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool, ThreadPoolExecutor(AT_ONCE) as beside:
        kinds = _kinds(root, pool)
        looks = watcher.look([storage.join(root, name) for name in kinds])

        def one(name: str, look: Look) -> Status:
            return _run(name, look, pool, kinds[name], brief=True)

        found = list(beside.map(one, kinds, looks))
    if not found:
        raise InputError(f"{root}: there is no run and no search")
    return sorted(found, key=lambda status: (status.since, status.name))


def _kinds(root: str, pool: Executor) -> dict[str, Kind]:
    names = [each.name for each in storage.list_folder(root) if each.folder]
    found = zip(names, pool.map(lambda name: _kind(storage.join(root, name)), names), strict=True)
    return {name: kind for name, kind in found if kind}


def _kind(uri: str) -> Kind | None:
    names = set(storage.list_names(uri))
    return "search" if names & _SEARCH else "run" if names & _RUN else None


def _none(root: str, name: str, pool: Executor) -> InputError:
    there = _kinds(root, pool)
    return unknown("run or search", name, there) if there else InputError(f"{root}: there is no run and no search")


def _run(name: str, look: Look, pool: Executor, kind: Kind = "run", *, brief: bool = False) -> Status:
    saved = saved_checkpoints(look.uri, pool)
    latest = saved[-1] if saved else None
    told = look.standing or _unsaid(latest)
    values = {**(latest.figures if latest else {}), **told.values}
    names = [] if brief else event_names(look.uri)
    if names and kind_of(names[-1]) == "ended":
        names.pop()  # the state says it
    wanted = [each for each in names if kind_of(each) != "started"][-_TOLD:]
    rate = _steps_per_second(told.reports, told.batch)
    state = look.state or ("finished" if 0 < told.steps <= told.step else "silent")
    return Status(
        name,
        kind,
        state,
        told.started if state == "training" else told.written,
        max(told.step, latest.step if latest else 0),  # the file is a few seconds old
        told.steps,
        told.unit,
        _mean([report.images_per_second for report in told.reports if report.images_per_second]),
        rate,
        _mean([report.data_wait_share for report in told.reports]),
        max(0, told.steps - told.step) / rate if rate and told.steps and state == "training" else None,
        told.workers,
        told.host,
        {key: value for key, value in values.items() if not key.startswith(_BESIDES)},
        {key: value for key, value in values.items() if key.startswith("val/")},
        told.validated,
        latest,
        best_of(saved),
        told.restarts,
        sum(kind_of(each) == "started" for each in names),
        tuple(event for event in pool.map(lambda each: read_event(look.uri, each), wanted) if event),
        told.why,
        tuple(filter(None, (look.note, _quiet(told) if state == "training" else ""))),
    )


def _search(name: str, look: Look, watcher: Watcher, pool: Executor) -> Status:
    """A search with its trials and the runs that train for it."""
    status = _run(name, look, pool, "search")
    folders = [name for name, kind in _kinds(look.uri, pool).items() if kind == "run"]
    looks = watcher.look([storage.join(look.uri, folder) for folder in folders])
    alive = [(folder, each) for folder, each in zip(folders, looks, strict=True) if each.state == "training"]
    runs = tuple(_run(folder, each, pool, brief=True) for folder, each in alive)
    trials = read_trials(look.uri, pool)
    state, over = status.state, sum(trial.status in OVER for trial in trials)
    if look.standing is None:  # an earlier program's: what it left behind must tell
        state = (
            "training" if runs else "finished" if storage.exists(storage.join(look.uri, "report.json")) else "silent"
        )
        status = replace(status, step=over, steps=len(trials), unit="trials")
    elif status.unit == "trials":  # its last word may be older than its ledger, where it was killed or a disk is full
        status = replace(status, step=max(status.step, over))
    if state != "training":
        trials = [replace(each, status="cut off") if each.status == "running" else each for each in trials]
    return replace(status, state=state, runs=runs, trials=tuple(trials), latest=None, best=None)


def _unsaid(latest: Saved | None) -> Standing:
    """What a checkpoint alone tells of a run."""
    if latest is None:
        return Standing("", 0, 0.0, 0.0, 0.0)
    steps = int(latest.train.get("steps", 0))
    return Standing("", 0, 0.0, latest.written, latest.written, step=latest.step, steps=steps)


def _steps_per_second(reports: Sequence[Report], batch: int) -> float:
    """By the clock, so validation and checkpoints are in it; from one report by its images."""
    if len(reports) > 1 and reports[-1].time > reports[0].time:
        return (reports[-1].step - reports[0].step) / (reports[-1].time - reports[0].time)
    return reports[-1].images_per_second / batch if reports and batch else 0.0


def _quiet(told: Standing) -> str:
    """Where workers that used to report do so no more; both times are of the writer's clock."""
    if not told.reports:
        return ""
    gaps = [b.time - a.time for a, b in zip(told.reports, told.reports[1:], strict=False)]
    passed = told.written - told.reports[-1].time
    if passed < max(_QUIET_S, 5 * _mean(gaps)):
        return ""
    return f"no report for {passed:.0f} s: the workers hang, restart, validate or write a checkpoint"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def as_json(status: Status) -> dict[str, Any]:
    """A status for programs: what stands in it under the same names, checkpoints without their meta.json."""
    told = asdict(status)
    for each in (told, *told["runs"]):
        for role in ("latest", "best"):
            if each[role]:
                each[role] = {key: each[role][key] for key in ("name", "step", "written", "figures")}
    return told
