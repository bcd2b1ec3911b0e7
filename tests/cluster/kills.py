"""A training on the bed that loses something at three random steps, and what each loss costs."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from bed import Bed, bucket, wait_until
from bed_network import Machine
from bed_watch import Watch, done_again, longest_pause, now

WORKERS = 3
_PATIENCE_S = 300.0
_S3_AWAY_S, _MLFLOW_AWAY_S = 20.0, 60.0
_SUPERVISOR_S = 3.0  # until whoever looks after a machine starts again what ended on it


@dataclass(frozen=True)
class Loss:
    """Something that was lost.

    Attributes:
        step: last one that was seen before.
        pause_s: longest time without a new report from then until the next loss or the end.
        again: steps that were reported before and done again.
    """

    step: int
    pause_s: float
    again: int


class Training:
    """A run that is submitted, watched, and submitted again when its job ends before its time.

    Args:
        bed: where it runs.
        name: of the run.
        runs: path in the bucket under which runs lie.
        job: its command.
    """

    def __init__(self, bed: Bed, name: str, runs: str, job: tuple[str, ...]) -> None:
        self._bed, self._name, self._job = bed, name, (*job, "--name", name, "--storage", bucket(runs))
        self.watch = Watch(bed, f"{runs}/{name}")
        self.submissions = 0
        self.submit()

    def submit(self) -> None:
        """The same command, once more."""
        self.submissions += 1
        self._process = self._bed.begin(self._log, *self._job)

    def wait_for(self, step: int) -> None:
        """Until it has reported a step; fails when its job ends."""

        def reached() -> bool:
            status = self._process.poll()
            if status is not None and self.watch.step() < step:
                raise RuntimeError(f"the job ended with {status} before step {step}:\n{self.said()}")
            return self.watch.step() >= step

        wait_until(reached, _PATIENCE_S, f"step {step} is reached; said so far:\n{self.said()}")

    def wait_for_workers(self, number: int) -> None:
        """Until so many workers have reported a step."""
        wait_until(lambda: self.workers()[-1:] == [number], _PATIENCE_S, f"{number} workers train: {self.workers()}")

    def workers(self) -> list[int]:
        """How many have trained, one after another, as far as they came to report steps."""
        stood = [(said["workers"], said["step"]) for said in self.watch.said() if said["reports"]]
        moved = [now[0] for before, now in itertools.pairwise(stood) if now[1] > before[1] and now[0] == before[0]]
        return [number for number, _ in itertools.groupby(moved)]

    def wait_for_end(self, seconds: float = _PATIENCE_S) -> int:
        """Until its job has ended; what ``ray job submit`` returned."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the job goes on after {seconds:g} s; it said:\n{self.said()}") from None
        finally:
            if self._process.poll() is not None:
                self._bed.processes.pop(self._log, None)

    def said(self) -> str:
        """What the last job has printed."""
        return self._bed.log(self._log)

    @property
    def _log(self) -> str:
        return f"job-{self._name}-{self.submissions}"


def lose_worker(bed: Bed, training: Training, chance: random.Random) -> None:
    """The process of one training worker."""
    workers = [each for node in bed.nodes for each in _processes(bed, node, "RayTrainWorker")]
    assert len(workers) == WORKERS, workers
    chance.choice(workers).kill()


def lose_raylet(bed: Bed, training: Training, chance: random.Random) -> None:
    """Ray on one node that is not the head; it is started again there."""
    node = chance.choice(bed.nodes[1:])
    (raylet,) = _processes(bed, node, "raylet/raylet")
    raylet.kill()
    _restart(bed, node)


def lose_driver(bed: Bed, training: Training, chance: random.Random) -> None:
    """The job's own process on the head; the job is submitted again."""
    drivers = _processes(bed, bed.nodes[0], "jobs/train.py")
    assert drivers, "the job runs on the head"
    for each in drivers:
        each.kill()
    assert training.wait_for_end() != 0, training.said()
    training.submit()


def lose_head(bed: Bed, training: Training, chance: random.Random) -> None:
    """The head's machine, and with it the cluster: all is started again, and the job is submitted again."""
    head, *others = bed.nodes
    bed.stop(head.name)
    time.sleep(_SUPERVISOR_S)
    bed.start_node(head)
    for node in others:
        _restart(bed, node)
    wait_until(lambda: bed.alive() == len(bed.nodes), _PATIENCE_S, "all nodes are there again")
    assert training.wait_for_end() != 0, training.said()
    training.submit()


def lose_s3(bed: Bed, training: Training, chance: random.Random) -> None:
    """What leads to S3, for twenty seconds; S3 keeps what it has."""
    bed.stop("door")
    time.sleep(_S3_AWAY_S)
    bed.start_door()


def lose_mlflow(bed: Bed, training: Training, chance: random.Random) -> None:
    """MLflow, for a minute."""
    bed.stop("mlflow")
    time.sleep(_MLFLOW_AWAY_S)
    bed.start_mlflow()


LOSSES: dict[str, Callable[[Bed, Training, random.Random], None]] = {
    "worker": lose_worker,
    "raylet": lose_raylet,
    "driver": lose_driver,
    "head": lose_head,
    "S3 for 20 s": lose_s3,
    "MLflow for 60 s": lose_mlflow,
}


def suffer(bed: Bed, training: Training, loss: str, steps: int, seed: int, times: int = 3) -> list[Loss]:
    """Let a training of ``steps`` steps lose something ``times`` times, each at a random step of its share of them.

    Raises:
        TimeoutError: it does not come back, or does not end.
        RuntimeError: its job fails.
    """
    chance, share = random.Random(seed), steps / (times + 1)
    seen, struck = [], []
    for number in range(times):
        training.wait_for(math.floor(share * number + chance.uniform(0.2, 0.9) * share) + 1)
        time.sleep(chance.uniform(0, 2))
        seen.append(training.watch.step())
        struck.append(now())
        LOSSES[loss](bed, training, chance)
        training.wait_for(seen[-1] + 1)
    assert training.wait_for_end() == 0, training.said()
    training.watch.close()
    reports, ends = training.watch.reports(), [*struck[1:], math.inf]
    return [
        Loss(step, longest_pause(reports, begin, end), done_again(reports, begin, end))
        for step, begin, end in zip(seen, struck, ends, strict=True)
    ]


def _processes(bed: Bed, node: Machine, word: str) -> list[psutil.Process]:
    """Of a node, those whose command has a word."""
    found = []
    for process in psutil.Process(bed.processes[node.name].pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if word in " ".join(process.cmdline()):
                found.append(process)
    return found


def _restart(bed: Bed, node: Machine) -> None:
    """What a supervisor does: wait until ``ray start`` has ended there, and start it again."""
    process = bed.processes[node.name]
    wait_until(lambda: process.poll() is not None, _PATIENCE_S, f"Ray on {node.name} has ended")
    bed.stop(node.name)
    time.sleep(_SUPERVISOR_S)
    bed.start_node(node)
