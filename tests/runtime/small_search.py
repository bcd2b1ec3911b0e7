"""A search of seconds: a recipe of four steps, its data and judges, and the job as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from forked import StartedJob, run_job
from tiny_models import build_supporting

from stargan_ray.config import DataConfig, Recipe, TrainConfig, to_json
from stargan_ray.data import storage
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.methods.stargan_v2_id import StarGANv2Identity
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.search_ledger import Trial
from stargan_ray.runtime.trials import TrialSeen
from stargan_ray.schedules import UniformSteps

ROOT = Path(__file__).parents[2]
LIMIT_S = 240.0
EXITS = {"training": 0, "finished": 0, "stopped": 3, "failed": 4, "silent": 5}  # of jobs/status.py


def small_recipe() -> Recipe:
    """Four steps of a translator of a few channels; half a CPU each, as the tiny recipes have it."""
    narrow: dict[str, Any] = {
        "first": 4, "largest": 8, "bottleneck": 8, "depth": 1, "style_dim": 4, "latent_dim": 3, "mapping_hidden": 6
    }  # fmt: skip
    method = StarGANv2Identity(**narrow, identity_dim=8, lambda_id=UniformSteps(0.1, 2.0, 1, 3, 1))
    train = TrainConfig(steps=4, threads=1, report_every=1, sample_every=0, validate_every=0, checkpoint_every=2)
    halves = recipe_named("stargan-v2-tiny").scale
    return Recipe("few", "a test's", method, DataConfig(size=32, shape=Shape(4, 2, 8)), train, halves)


def build_place(folder: Path) -> Path:
    """A data set, untrained supporting networks that know its eight expressions, and the recipe."""
    folder.mkdir(exist_ok=True)
    faces = FacesConfig(people=14, images_per_person=8, size=32, splits=(0.5, 0.5, 0.0))
    write_dataset(str(folder / "faces"), read_faces(faces))
    build_supporting(folder)
    (folder / "few.json").write_text(json.dumps(to_json(small_recipe())))
    return folder


def flags_of(name: str, *more: str) -> list[str]:
    """The flags of any search of that recipe, with the place as the working directory."""
    return [
        "--data", "faces", "--name", name, "--recipe", "few.json", "--identity", "identity", "--expression-judge",
        "expression", "--identity-judge", "identity-judge", "--people", "6", "--translations", "24", *more,
    ]  # fmt: skip


class Searching:
    """The job in a session of its own; what it says goes to a file that can be read meanwhile."""

    def __init__(self, place: Path, flags: list[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = StartedJob("tune", *flags, cwd=place, log=file, environment=environment)
        self._family: dict[int, psutil.Process] = {}

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text()

    def family(self) -> list[psutil.Process]:
        """The job and every process that was ever seen below it, Ray's among them."""
        with contextlib.suppress(psutil.Error):
            job = psutil.Process(self.process.pid)
            for each in (job, *job.children(recursive=True)):
                self._family.setdefault(each.pid, each)
        return list(self._family.values())

    def until(self, what: str, condition: Callable[[], Any], seconds: float = LIMIT_S) -> Any:
        """Wait; the job must not end before."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            self.family()
            assert self.process.poll() is None, f"waiting for {what}: {self.said}"
            assert time.monotonic() < end, f"waiting for {what}: {self.said}"
            time.sleep(0.1)
        return found

    def ended(self, seconds: float = LIMIT_S) -> int:
        """Its exit status, which must come in time."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            self.family()
            assert time.monotonic() < end, f"it does not end: {self.said}"
            time.sleep(0.1)
        return self.process.returncode

    def left(self, seconds: float = 15.0) -> list[str]:
        """Command lines of what outlives the job by more than some seconds."""
        _, alive = psutil.wait_procs(self.family(), timeout=seconds)
        return [" ".join(each.cmdline())[:200] for each in alive if each.is_running()]

    def lines(self) -> list[str]:
        """What it said, without empty lines."""
        return [line for line in self.said.splitlines() if line.strip()]


@contextlib.contextmanager
def searching(place: Path, flags: list[str], log: Path, **environment: str) -> Iterator[Searching]:
    """A search of which nothing is left afterwards."""
    job = Searching(place, flags, log, **environment)
    try:
        yield job
    finally:
        family = job.family()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.process.pid, signal.SIGKILL)
        job.process.wait()
        _, alive = psutil.wait_procs(family, timeout=10)
        for each in alive:  # Ray's own end with their driver; a test must not leave any
            with contextlib.suppress(psutil.Error):
                each.kill()


@dataclass(frozen=True)
class Seen:
    """The part of a status that tests ask for."""

    state: str
    why: str
    step: int
    trials: tuple[TrialSeen, ...]
    events: tuple[str, ...]


def written_by(uri: str, trials: Sequence[Trial]) -> dict[str, int]:
    """When each file of the checkpoints of some trials was written: another time, and it was trained again."""
    found: dict[str, int] = {}
    for each in trials:
        run = storage.join(uri, f"{uri.rpartition('/')[2]}-{each.key}", "checkpoints")
        for step in storage.list_names(run):
            found |= {f"{run}/{step}/{file.name}": file.modified for file in storage.list_folder(f"{run}/{step}")}
    assert found
    return found


def one_line(job: Searching, *parts: str) -> None:
    """The last thing said is an error of one line, and no traceback is said anywhere."""
    assert "Traceback" not in job.said, job.said
    (error,) = (line for line in job.lines() if line.startswith("error: "))
    assert error == job.lines()[-1]
    for part in parts:
        assert part in error, error


def status_of_job(name: str, place: Path, where: str = "runs") -> Seen:
    """What jobs/status.py says of it."""
    done = run_job("status", name, "--storage", where, "--json", cwd=place)
    assert done.stdout, done.stderr
    told = json.loads(done.stdout)
    trials = tuple(TrialSeen(**trial) for trial in told["trials"])
    assert done.returncode == EXITS[told["state"]], done
    return Seen(told["state"], told["why"], told["step"], trials, tuple(event["said"] for event in told["events"]))
