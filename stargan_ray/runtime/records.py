"""Where a run's records go: one actor beside the driver, or the writer itself when there is no Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stargan_ray
from stargan_ray.config import flatten
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.progress import Show
from stargan_ray.runtime.records_actor import RecordsActor
from stargan_ray.runtime.run import Run
from stargan_ray.runtime.tracking import Tracking

SPOOL = Path("runs/spool")


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

    def note(self, message: str) -> None:
        """See ``Recorder``."""
        self.actor.note.remote(message)

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        import ray

        if self.asked is None:
            self.asked = self.actor.stop_requested.remote()
        elif ray.wait([self.asked], timeout=0)[0]:
            self.stop, self.asked = self.stop or ray.get(self.asked), None
        return self.stop


def make_tracking(run: Run, data_hash: str) -> Tracking:
    """The writer of the run's records in this process."""
    params, tags, fresh = _described(run, data_hash)
    return Tracking(run.name, params, tags, spool=SPOOL, fresh=fresh)


def _described(run: Run, data_hash: str) -> tuple[dict[str, Any], dict[str, str], bool]:
    """Parameters, tags, and whether the run starts anew: without a checkpoint it does, also under a used name."""
    tags = {"commit": commit(), "data_hash": data_hash, "version": stargan_ray.__version__, **run.tags}
    return flatten(run.recipe), tags, not run.checkpoints.names()


def start_actor(run: Run, data_hash: str) -> Any:
    """The actor on the driver's node, where a SQLite store and the spool are."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    uris = {n: os.environ[n] for n in os.environ if n.startswith("MLFLOW_")}
    actor = ray.remote(num_cpus=0)(RecordsActor).options(
        scheduling_strategy=here, max_concurrency=1, runtime_env={"env_vars": uris}
    )
    params, tags, fresh = _described(run, data_hash)
    return actor.remote(run.name, params, tags, str(SPOOL.absolute()), fresh=fresh)


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

    def note(self, message: str) -> None:
        """See ``Recorder``."""
        print(message, file=sys.stderr)

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        return self.tracking.stop_requested()
