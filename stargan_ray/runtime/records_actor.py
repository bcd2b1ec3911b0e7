"""The one writer of a run's records, as an actor beside the driver or, without Ray, in the process that trains.

Workers only send to it and never wait. Stop requests and failures travel through it too. As an actor it is a process
of its own, so this file and what it imports know nothing of PyTorch, which costs seconds and hundreds of megabytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from stargan_ray.runtime.gauges import RunGauges
from stargan_ray.runtime.heartbeat import Heartbeat
from stargan_ray.runtime.standing import State
from stargan_ray.runtime.tracking import Tracking

Fault = Literal["", "diverged", "storage"]  # what could not be gone on from; empty = anything else
STATES: Mapping[str, State] = {"FINISHED": "finished", "KILLED": "stopped", "FAILED": "failed"}


@dataclass(frozen=True)
class Described:
    """What the records of a run begin with.

    Attributes:
        name: of the run.
        uri: of its folder.
        params: by dotted path.
        tags: commit, data hash, version, ….
        step: of its latest checkpoint; 0 = none.
        steps: that are wanted.
        batch: images of a step.
    """

    name: str
    uri: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    step: int
    steps: int
    batch: int


class RecordsActor:
    """The run's end of the records: to MLflow and storage; remembers progress, a stop request and a failure.

    Args:
        run: whose records.
        spool: folder under which records wait for MLflow.
        gauges: where Prometheus' metrics go; None = nowhere.
        environment: the driver's variables of MLflow, where this is another process.
    """

    def __init__(
        self,
        run: Described,
        spool: str,
        gauges: RunGauges | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        os.environ.update(environment)  # before MLflow is imported, which is when it is reached
        # without a checkpoint a run starts anew, also under a used name
        self._tracking = Tracking(
            run.name, run.params, run.tags, spool=Path(spool), fresh=run.step == 0, storage=run.uri
        )
        self._heartbeat = Heartbeat(run.uri, run.steps, step=run.step, batch=run.batch)
        self._gauges = gauges
        self._step, self._values = 0, dict[str, float]()
        self._failure: tuple[str, Fault] = "", ""
        self._notes: list[str] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self._step, self._values = step, self._values | dict(values)
        self._tracking.metrics(step, values)
        self._heartbeat.metrics(step, values)
        if self._gauges:
            self._gauges.metrics(step, values)

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self._tracking.image(step, name, png)

    def secure(self) -> None:
        """See ``Recorder``."""
        self._tracking.secure()

    def note(self, message: str) -> None:
        """A person should see this now; what several workers say is kept once."""
        if message not in self._notes:
            self._notes.append(message)

    def notes(self) -> list[str]:
        """What was noted since the last call."""
        new, self._notes = self._notes, []
        return new

    def request_stop(self) -> None:
        """A person asked the run to end."""
        self._tracking.request_stop()

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        return self._tracking.stop_requested()

    def began(self, workers: int) -> None:
        """So many workers have started, for the first time or again."""
        self._heartbeat.began(workers)
        if self._gauges:
            self._gauges.began(workers, self._heartbeat.restarts)

    def trouble(self, said: str) -> None:
        """Something went wrong that the run may survive, such as an error of a worker or a damaged checkpoint."""
        self._heartbeat.error(said)
        self.note(said)

    def fail(self, message: str, fault: Fault = "") -> None:
        """A worker met an error that starting it again would not mend: its numbers became infinite, a disk is full."""
        if not self._failure[0]:
            self._failure = message, fault

    def failure(self) -> tuple[str, Fault]:
        """That error, or nothing, and its kind."""
        return self._failure

    def progress(self) -> tuple[int, dict[str, float]]:
        """The last step reported and its numbers."""
        return self._step, self._values

    def close(self, status: str, why: str = "") -> str:
        """Deliver what is left; returns the id of the MLflow run, empty while it has none.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``, as MLflow has it.
            why: it failed.
        """
        self._heartbeat.close(STATES[status], why or self._failure[0])
        self._tracking.close(status)
        return self._tracking.run_id
