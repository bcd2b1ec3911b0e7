"""A search in MLflow: a run of its own, the trials' runs nested in it, all written by one thread of the driver.

How far it is stands on storage too, for ``jobs/status.py``.

A trial's curves come from its training as for any run; here its figures at the rungs and its end are added.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stargan_ray.recipes.space import point_text
from stargan_ray.runtime.heartbeat import Heartbeat
from stargan_ray.runtime.records import SPOOL
from stargan_ray.runtime.records_actor import STATES
from stargan_ray.runtime.search_ledger import Trial
from stargan_ray.runtime.tracking import Tracking

_ENDS = {"finished": "FINISHED", "stopped": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
_WAIT_S = 10.0  # for MLflow at the start; trials are not nested where it does not answer by then
_SETTLE_S = 5.0  # after the end of a trial, until the process that wrote its curves has gone


class SearchRecord:
    """The records of a search.

    Args:
        name: of the search.
        params: of it.
        tags: of its run.
        heartbeat: says how far it is.
        fresh: no earlier call has begun it.
    """

    def __init__(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], heartbeat: Heartbeat, *, fresh: bool
    ) -> None:
        kind = {"stargan_ray.kind": "search"}
        self._tracking = Tracking(name, params, {**tags, **kind}, spool=SPOOL, fresh=fresh)
        self._heartbeat = heartbeat
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="records")

    def nested(self) -> dict[str, str]:
        """Tags that make a run one of the search's."""
        until = time.monotonic() + _WAIT_S
        while not self._tracking.run_id and time.monotonic() < until:
            time.sleep(0.1)
        parent = self._tracking.run_id
        return {"mlflow.parentRunId": parent} if parent else {}

    def over(self, trial: Trial, run: str, trials: Sequence[Trial]) -> None:
        """A trial has ended: its figures go to its run, and how far the search is to that of the search."""
        self._writer.submit(self._trial, trial, run, time.monotonic() + _SETTLE_S)
        judged = [each for each in trials if each.judged]
        over = sum(each.status != "running" for each in trials)
        told = {"search/trials": float(over)}
        if judged:
            best = max(judged, key=lambda each: each.last["score"])
            told |= {f"search/best/{name}": value for name, value in best.last.items()}
        self._tracking.metrics(len(trials), told)
        self._heartbeat.progress(over, told)
        if trial.status in ("failed", "diverged"):
            self._heartbeat.error(f"trial {trial.order} {trial.status}: {trial.why}")

    def trouble(self, said: str) -> None:
        """Something went wrong that the search survives."""
        self._heartbeat.error(said)

    def segment(self, step: int, figures: Mapping[str, float]) -> None:
        """The best of a population after a segment."""
        told = {f"search/best/{name}": value for name, value in figures.items()}
        self._tracking.metrics(step, told)
        self._heartbeat.progress(step, told)

    def close(self, status: str, artifacts: Mapping[str, bytes], why: str = "") -> None:
        """Deliver what is left, with the tables and plots of the search; ``why`` it failed."""
        self._heartbeat.close(STATES[status], why)
        self._writer.shutdown(wait=True)
        for name, data in artifacts.items():
            self._tracking.artifact(data, f"search/{name}")
        self._tracking.close(status)

    @staticmethod
    def _trial(trial: Trial, run: str, when: float) -> None:
        time.sleep(max(0.0, when - time.monotonic()))
        tags = {"stargan_ray.status": trial.status, "stargan_ray.point": trial.label or point_text(trial.fields, 99)}
        tracking = Tracking(run, {}, {**tags, **({"stargan_ray.why": trial.why} if trial.why else {})}, spool=SPOOL)
        for rung in trial.rungs:
            tracking.metrics(rung.step, {f"search/{name}": value for name, value in rung.values.items()})
        tracking.close(_ENDS.get(trial.status, "KILLED"))
