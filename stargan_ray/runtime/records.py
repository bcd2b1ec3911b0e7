"""Where a run's records go: one actor beside the driver, or the writer itself when there is no Ray."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import stargan_ray
from stargan_ray.config import flatten
from stargan_ray.runtime.gauges import RunGauges, WorkerGauges
from stargan_ray.runtime.lineage import commit
from stargan_ray.runtime.progress import Show
from stargan_ray.runtime.records_actor import Described, RecordsActor
from stargan_ray.runtime.run import Run

SPOOL = Path("runs/spool")


@dataclass
class ActorRecorder:
    """A worker's recorder: sends and goes on; the answer to a question is picked up when it is there."""

    actor: Any
    run: str
    asked: Any = None
    stop: bool = False
    gauges: WorkerGauges = field(init=False)

    def __post_init__(self) -> None:
        """Make what exports this worker's numbers."""
        self.gauges = WorkerGauges(self.run)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self.actor.metrics.remote(step, dict(values))

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self.gauges.measured(rank, values)

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self.actor.image.remote(step, name, png)

    def secure(self) -> None:
        """See ``Recorder``; the only call that waits for the actor."""
        import ray

        ray.get(self.actor.secure.remote())

    def note(self, message: str) -> None:
        """See ``Recorder``."""
        self.actor.trouble.remote(message)

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        import ray

        if self.asked is None:
            self.asked = self.actor.stop_requested.remote()
        elif ray.wait([self.asked], timeout=0)[0]:
            self.stop, self.asked = self.stop or ray.get(self.asked), None
        return self.stop


def make_records(run: Run, data_hash: str) -> RecordsActor:
    """The writer of the run's records in this process."""
    return RecordsActor(_described(run, data_hash), str(SPOOL))


def _described(run: Run, data_hash: str) -> Described:
    tags = {"commit": commit(), "data_hash": data_hash, "version": stargan_ray.__version__, **run.tags}
    names = run.checkpoints.names()
    step = int(names[-1].removeprefix("step-")) if names else 0
    recipe = run.recipe
    return Described(run.name, run.uri, flatten(recipe), tags, step, recipe.train.steps, recipe.data.shape.batch)


def start_actor(run: Run, data_hash: str) -> Any:
    """The actor on the driver's node, where a SQLite store and the spool are."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # As an argument: the dashboard shows the environment of an actor, and an account's password may be among it.
    mlflow = {n: os.environ[n] for n in os.environ if n.startswith("MLFLOW_")}
    actor = ray.remote(num_cpus=0)(RecordsActor).options(scheduling_strategy=here, max_concurrency=1)
    return actor.remote(_described(run, data_hash), str(SPOOL.absolute()), RunGauges(run.name), mlflow)


@dataclass
class Shown:
    """Records that also move the bar."""

    records: RecordsActor
    show: Show

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """See ``Recorder``."""
        self.records.metrics(step, values)
        self.show(step, values)

    def measured(self, rank: int, values: Mapping[str, float]) -> None:
        """Nobody collects them without Ray."""

    def image(self, step: int, name: str, png: bytes) -> None:
        """See ``Recorder``."""
        self.records.image(step, name, png)

    def secure(self) -> None:
        """See ``Recorder``."""
        self.records.secure()

    def note(self, message: str) -> None:
        """See ``Recorder``."""
        self.records.trouble(message)
        print(message, file=sys.stderr)

    def stop_requested(self) -> bool:
        """See ``Recorder``."""
        return self.records.stop_requested()
