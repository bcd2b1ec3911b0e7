"""What Ray costs a training that has a core to itself: a run by Ray Train and Ray Data against the bare loop.

    python benchmarks/ray_cost.py               # ten minutes on two cores that nothing else uses

Minutes of a shared machine differ by more than what is looked for, so both run at once and take turns of seconds: one
of them with all its processes is held (SIGSTOP) while the other goes on. ``bare`` is one worker with one thread on
random images in memory, in a process of its own, ``ray`` a whole training of generated faces by ``jobs/train.py``'s
loop: one worker with one thread, its reader and Ray's own processes on the core that is left. Both write when they have
done some steps; the time in which they were held is taken off.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from measure import RESULTS, commit, hardware
from scale import BATCH, RECIPE, SIZE, STEPS, recipe_of, steps_of

TURN_S, TURNS = 6.0, 40  # of each of the two
PARTS = 5  # of the whole time, whose ratios show the spread
Mark = tuple[float, int]  # a time of the machine's clock, and the steps that were done by then


@dataclass
class Turns:
    """A program with all its processes, which goes on in its turns alone."""

    process: subprocess.Popen[bytes]
    turns: list[tuple[float, float]] = field(default_factory=list)  # when it went on, and until when

    def hold(self) -> None:
        """Stop all its processes where they are."""
        self._tell(signal.SIGSTOP)

    def go(self, seconds: float) -> None:
        """Let them go on for a time."""
        start = time.time()
        self._tell(signal.SIGCONT)
        time.sleep(seconds)
        self._tell(signal.SIGSTOP)
        self.turns.append((start, time.time()))
        assert self.process.poll() is None, "it ended before it was measured"

    def end(self) -> None:
        """End all its processes."""
        self._tell(signal.SIGCONT)
        self.process.terminate()
        self.process.wait()

    def active(self, start: float, stop: float) -> float:
        """Seconds between two times in which it went on."""
        return sum(max(0.0, min(stop, b) - max(start, a)) for a, b in self.turns)

    def seconds_a_step(self, marks: Sequence[Mark], start: float, stop: float) -> float:
        """Between the first and last mark in a time."""
        (first, before), *_, (last, after) = [mark for mark in marks if start <= mark[0] <= stop]
        return self.active(first, last) / (after - before)

    def _tell(self, what: signal.Signals) -> None:
        root = psutil.Process(self.process.pid)
        for each in [*root.children(recursive=True), root]:
            try:
                each.send_signal(what)
            except psutil.NoSuchProcess:
                continue


def bare(path: str) -> None:
    """Steps without an end, and a line of the file for every few."""
    import torch

    from stargan_ray.training.worker import LocalWorker

    torch.set_num_threads(1)
    work, done = steps_of(LocalWorker(), 1), 0
    with Path(path).open("a") as file:
        while True:
            work()
            done += STEPS
            file.write(f"{time.time()} {done}\n")
            file.flush()


def by_ray(folder: str) -> None:
    """A training that is longer than what is measured of it."""
    from stargan_ray.config import override
    from stargan_ray.data.faces import FacesConfig
    from stargan_ray.data.readers.faces import read_faces
    from stargan_ray.data.writing import write_dataset
    from stargan_ray.runtime import launch
    from stargan_ray.runtime.run import Run

    faces = FacesConfig(people=60, images_per_person=16, size=SIZE, splits=(1.0, 0.0, 0.0))
    write_dataset(f"{folder}/faces", read_faces(faces))
    recipe = override(recipe_of(1), {"train.steps": 100_000, "train.checkpoint_every": 100_000})
    launch.fit(Run(recipe, f"{folder}/faces", f"{folder}/runs", "ray"))


def marks_of_bare(path: Path) -> list[Mark]:
    """What the bare loop has written."""
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(float(at), int(done)) for at, done in lines]


class Reports:
    """What the run has said of itself, gathered from its short memory."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.known: dict[int, float] = {}
        self.waited: dict[int, float] = {}

    def marks(self) -> list[Mark]:
        """All reports until now."""
        from stargan_ray.runtime.standing import read_now

        for each in told.reports if (told := read_now(self.uri)) else ():
            self.known[each.step], self.waited[each.step] = each.time, each.data_wait_share
        return [(at, step) for step, at in sorted(self.known.items())]


def until(marks: Callable[[], list[Mark]], count: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until some marks are there."""
    while len(marks()) < count:
        assert process.poll() is None, "it ended before it was measured"
        time.sleep(0.5)


def main() -> None:
    """Start both, let them take turns, and report."""
    with tempfile.TemporaryDirectory() as folder:
        log, reports = Path(folder, "bare"), Reports(f"{folder}/runs/ray")
        command = [sys.executable, __file__]
        with Path(folder, "said").open("wb") as said:
            ray = Turns(subprocess.Popen([*command, "ray", folder], stdout=said, stderr=said))
            until(reports.marks, 8, ray.process)  # its segments have grown to their length
            ray.hold()
            alone = Turns(subprocess.Popen([*command, "bare", str(log)], stdout=said, stderr=said))
            until(lambda: marks_of_bare(log), 2, alone.process)
            alone.hold()
            start = time.time()
            for _ in range(TURNS):
                ray.go(TURN_S)
                reports.marks()
                alone.go(TURN_S)
            stop = time.time()
            found = {"bare": marks_of_bare(log), "ray": reports.marks()}
            alone.end()
            ray.end()
    show({"bare": alone, "ray": ray}, found, start, stop, reports.waited)


def show(
    turns: dict[str, Turns], marks: dict[str, list[Mark]], start: float, stop: float, waited: dict[int, float]
) -> None:
    """Print the ratio and its spread, and write the record."""
    edges = [start + (stop - start) * n / PARTS for n in range(PARTS + 1)]
    seconds = {
        name: [each.seconds_a_step(marks[name], a, b) for a, b in itertools.pairwise(edges)]
        for name, each in turns.items()
    }
    whole = {name: each.seconds_a_step(marks[name], start, stop) for name, each in turns.items()}
    parts = [b / r for b, r in zip(seconds["bare"], seconds["ray"], strict=True)]
    seen = [waited[step] for at, step in marks["ray"] if start <= at <= stop]
    facts = {
        "seconds_a_step": {name: round(value, 4) for name, value in whole.items()},
        "ray_to_bare": round(whole["bare"] / whole["ray"], 4),
        "ray_to_bare_in_parts": [round(each, 4) for each in parts],
        "standard_error": round(statistics.stdev(parts) / len(parts) ** 0.5, 4),
        "data_wait_share": round(statistics.mean(seen), 4),
        "steps": {name: len([at for at, _ in each if start <= at <= stop]) * STEPS for name, each in marks.items()},
    }
    for name, value in facts.items():
        print(f"{name}: {value}")
    record = {
        "name": "ray-cost",
        "command": "python benchmarks/ray_cost.py",
        "commit": commit(),
        "hardware": hardware() | {"threads": "1"},
        "load": [round(each, 2) for each in os.getloadavg()],
        "recipe": {"name": RECIPE, "size": SIZE, "batch": BATCH},
        **facts,
        "turns": {name: each.turns for name, each in turns.items()},
        "marks": marks,
    }
    (RESULTS / "ray-cost.json").write_text(json.dumps(record))


if __name__ == "__main__":
    {"bare": bare, "ray": by_ray}[sys.argv[1]](sys.argv[2]) if len(sys.argv) == 3 else main()
