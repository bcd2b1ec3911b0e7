"""Where a run's records go: one actor beside the driver, or the writer itself when there is no Ray.

The actor is the one writer to MLflow; workers only send to it and never wait. Stop requests and failures travel
through it too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stargan_ray
from stargan_ray.runtime.progress import Show
from stargan_ray.runtime.session import Run, commit
from stargan_ray.runtime.tracking import Tracking

SPOOL = Path("runs/spool")


class RecordsActor:
    """The run's end of the records: forwards to MLflow, remembers progress, a stop request and a failure."""

    def __init__(self, run: Run, tags: Mapping[str, str], spool: str) -> None:
        self._tracking = make_tracking(run, tags, Path(spool))
        self._step, self._values = 0, dict[str, float]()
        self._failure = ""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self._step, self._values = step, self._values | dict(values)
        self._tracking.metrics(step, values)

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self._tracking.image(step, name, png)

    def request_stop(self) -> None:
        """A person asked the run to end."""
        self._tracking.request_stop()

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        return self._tracking.stop_requested()

    def fail(self, message: str) -> None:
        """A worker met an error that starting it again would not mend."""
        self._failure = self._failure or message

    def failure(self) -> str:
        """That error, or nothing."""
        return self._failure

    def progress(self) -> tuple[int, dict[str, float]]:
        """The last step reported and its numbers."""
        return self._step, self._values

    def close(self, status: str) -> str:
        """Deliver what is left; returns the id of the MLflow run, empty while it has none."""
        self._tracking.close(status)
        return self._tracking.run_id


@dataclass
class ActorRecorder:
    """A worker's recorder: sends and goes on; the answer to a question is picked up when it is there."""

    actor: Any
    asked: Any = None
    stop: bool = False

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self.actor.metrics.remote(step, dict(values))

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self.actor.image.remote(step, name, png)

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        import ray

        if self.asked is None:
            self.asked = self.actor.stop_requested.remote()
        elif ray.wait([self.asked], timeout=0)[0]:
            self.stop, self.asked = self.stop or ray.get(self.asked), None
        return self.stop


def make_tracking(run: Run, tags: Mapping[str, str], spool: Path) -> Tracking:
    """The writer of the run's records: a run without a checkpoint starts anew, also under a used name."""
    return Tracking(run.name, run.recipe, tags, spool=spool, fresh=not run.checkpoints.names())


def tags_of(data_hash: str) -> dict[str, str]:
    """What an MLflow run says of its code and data."""
    return {"commit": commit(), "data_hash": data_hash, "version": stargan_ray.__version__}


def start_actor(run: Run, data_hash: str) -> Any:
    """The actor on the driver's node, where a SQLite store and the spool are."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    uris = {n: os.environ[n] for n in os.environ if n.startswith("MLFLOW_")}
    actor = ray.remote(num_cpus=0)(RecordsActor).options(
        scheduling_strategy=here, max_concurrency=1, runtime_env={"env_vars": uris}
    )
    return actor.remote(run, tags_of(data_hash), str(SPOOL.absolute()))


@dataclass
class Shown:
    """Records that also move the bar."""

    tracking: Tracking
    show: Show

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self.tracking.metrics(step, values)
        self.show(step, values)

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self.tracking.image(step, name, png)

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        return self.tracking.stop_requested()
