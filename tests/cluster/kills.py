"""A training on the bed that loses something at three random steps, and what each loss costs."""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
from bed import Bed, wait_until
from bed_network import Machine
from bed_training import PATIENCE_S, WORKERS, Records, Training
from bed_watch import done_again, longest_pause, now

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
    wait_until(lambda: bed.alive() == len(bed.nodes), PATIENCE_S, "all nodes are there again")
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


# Steps of a run that is as long as three losses take.
USUAL, STEPS = 240, {"MLflow for 60 s": 1_200}
ELASTIC_STEPS = 800
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


def shrink_and_grow(bed: Bed, job: tuple[str, ...], steps: int) -> Training:
    """A training of two or three workers, each of whom wants a machine, loses a machine for a while."""
    wide = ("--scale.num-workers", "2", "3", "--scale.cpus-per-worker", "1", "--scale.cpus-per-reader", "1")
    training, node = Training(bed, "elastic", (*job, *wide, "--train.steps", str(steps))), bed.nodes[-1]
    training.wait_for(60)
    bed.stop(node.name)
    training.wait_for_workers(2)
    training.wait_for(training.watch.step() + 60)
    bed.start_node(node)
    training.wait_for_workers(3)
    assert training.wait_for_end() == 0, training.said()
    training.watch.close()
    return training


def first_difference(told: Records, expected: Records) -> tuple[int, float]:
    """Where a training leaves the expected one, and how far: a wrong batch would be 1 away.

    Returns:
        The first step with another value, and the median over the metrics there of the difference, in units of what
        the metric changes by from a step to the next. Without any difference (0, 0.0).
    """
    apart: dict[int, list[float]] = {}
    for metric, values in expected.items():
        line = [value for _, (value, *_) in sorted(values.items(), key=lambda item: int(item[0]))]
        usual = statistics.fmean(abs(after - before) for before, after in itertools.pairwise(line))
        for step, (value, *_) in values.items():
            if usual:  # what never changes, or only with the schedule, tells nothing of batches
                apart.setdefault(int(step), []).append(abs(told[metric][step][0] - value) / usual)
    different = [step for step, found in apart.items() if any(found)]
    return (first, statistics.median(apart[first])) if different and (first := min(different)) else (0, 0.0)


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
    wait_until(lambda: process.poll() is not None, PATIENCE_S, f"Ray on {node.name} has ended")
    bed.stop(node.name)
    time.sleep(_SUPERVISOR_S)
    bed.start_node(node)
