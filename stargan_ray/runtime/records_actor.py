"""The one writer of a run's records to MLflow, as an actor beside the driver.

Workers only send to it and never wait. Stop requests and failures travel through it too. It is a process of its
own, so this file and what it imports know nothing of PyTorch, which costs seconds and hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stargan_ray.runtime.tracking import Tracking


class RecordsActor:
    """The run's end of the records: forwards to MLflow, remembers progress, a stop request and a failure."""

    def __init__(
        self, name: str, params: Mapping[str, Any], tags: Mapping[str, str], spool: str, *, fresh: bool
    ) -> None:
        self._tracking = Tracking(name, params, tags, spool=Path(spool), fresh=fresh)
        self._step, self._values = 0, dict[str, float]()
        self._failure, self._diverged = "", False
        self._notes: list[str] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self._step, self._values = step, self._values | dict(values)
        self._tracking.metrics(step, values)

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self._tracking.image(step, name, png)

    def note(self, message: str) -> None:
        """See ``Recorder``; what several workers say is kept once."""
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

    def fail(self, message: str, diverged: bool = False) -> None:
        """A worker met an error that starting it again would not mend; ``diverged`` = its numbers became infinite."""
        if not self._failure:
            self._failure, self._diverged = message, diverged

    def failure(self) -> tuple[str, bool]:
        """That error, or nothing, and whether the training diverged."""
        return self._failure, self._diverged

    def progress(self) -> tuple[int, dict[str, float]]:
        """The last step reported and its numbers."""
        return self._step, self._values

    def close(self, status: str) -> str:
        """Deliver what is left; returns the id of the MLflow run, empty while it has none."""
        self._tracking.close(status)
        return self._tracking.run_id
