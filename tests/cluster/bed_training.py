"""One training on the bed: submitted, watched, submitted again; what it ends with."""

from __future__ import annotations

import itertools
import subprocess

from bed import Bed, bucket, wait_until
from bed_watch import Watch, records, weights

WORKERS, RUNS = 3, "kills/runs"
PATIENCE_S = 300.0
_SMALL = ("--faces.people", "40", "--faces.size", "32", "--shard-rows", "64")
Records = dict[str, dict[str, list[float]]]  # metric -> step -> the different values
Ending = tuple[dict[str, str], Records]


class Training:
    """A run that is submitted, watched, and submitted again when its job ends before its time.

    Args:
        bed: where it runs.
        name: of the run.
        job: its command.
    """

    def __init__(self, bed: Bed, name: str, job: tuple[str, ...]) -> None:
        self._bed, self._name, self._job = bed, name, (*job, "--name", name, "--storage", bucket(RUNS))
        self.watch = Watch(bed, f"{RUNS}/{name}")
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

        wait_until(reached, PATIENCE_S, f"step {step} is reached; said so far:\n{self.said()}")

    def wait_for_workers(self, number: int) -> None:
        """Until so many workers have reported a step."""
        wait_until(lambda: self.workers()[-1:] == [number], PATIENCE_S, f"{number} workers train: {self.workers()}")

    def workers(self) -> list[int]:
        """How many have trained, one after another, as far as they came to report steps."""
        stood = [(said["workers"], said["step"]) for said in self.watch.said() if said["reports"]]
        moved = [now[0] for before, now in itertools.pairwise(stood) if now[1] > before[1] and now[0] == before[0]]
        return [number for number, _ in itertools.groupby(moved)]

    def wait_for_end(self, seconds: float = PATIENCE_S) -> int:
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


def prepared(bed: Bed) -> tuple[str, ...]:
    """Data and an embedder in the bucket; the command of a training of three workers, but for name and steps."""
    faces, wide = bucket("kills/faces"), ("--scale.num-workers", str(WORKERS), "--data.shape.lanes", "6")
    short = ("--train.report-every", "1", "--train.sample-every", "0", "--train.validate-every", "0")
    ingested = bed.submit("jobs/ingest.py", "faces", "--out", faces, *_SMALL)
    assert ingested.status == 0, ingested.said
    embedder = ("--name", "embedder", "--storage", bucket(RUNS), "--train.steps", "3", "--data.shape.batch", "48")
    trained = bed.submit("jobs/train.py", "identity-tiny", "--data", faces, *embedder, *wide, *short)
    assert trained.status == 0, trained.said
    given = ("--data", faces, "--identity", f"{bucket(RUNS)}/embedder", "--data.shape.batch", "6")
    return ("jobs/train.py", "stargan-v2-id-tiny", *given, *wide, *short, "--train.checkpoint-every", "20")


def undisturbed(bed: Bed, job: tuple[str, ...], steps: int) -> Ending:
    """What a run of so many steps ends with that loses nothing."""
    training = Training(bed, f"calm-{steps}", (*job, "--train.steps", str(steps)))
    assert training.wait_for_end(900) == 0, training.said()
    training.watch.close()
    return ending_of(bed, f"calm-{steps}", steps)


def ending_of(bed: Bed, name: str, steps: int) -> Ending:
    """SHA-256 of the last checkpoint's weights, and what MLflow has: metric -> step -> the different values."""
    status, told = records(bed, name)
    assert status == "FINISHED"
    return weights(bed, f"{RUNS}/{name}/checkpoints/step-{steps:08d}"), told
