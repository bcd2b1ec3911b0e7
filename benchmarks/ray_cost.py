"""What Ray costs a training that has a core to itself: a run by Ray Train and Ray Data against the bare loop.

    python benchmarks/ray_cost.py               # a quarter of an hour on two cores that nothing else uses

Minutes of a shared machine differ by more than what is looked for, so all run at once and take turns of seconds, in
another order each round: all processes of the others are held (SIGSTOP) while one goes on. What is held catches up
when it goes on, and Ray's timers most of all: the first seconds of a turn do not count. Processes of the same program
differ too: there are several of each. Each is one worker with one thread. ``plain`` augments random images in memory
and takes the step, in a loop of its own; ``bare`` does so with memory that is kept, as a training of ours does; ``ray``
is a whole training of generated faces by Ray Train, its reader and Ray's own processes on the core that is left;
``local``, if it is added to KINDS, the same training in one process, which a thread decodes for.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from measure import RESULTS, commit, hardware
from scale import BATCH, RECIPE, SIZE, recipe_of

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset

TURN_S, SETTLE_S, ROUNDS = 16.0, 4.0, 9  # of each process
KINDS, EACH = ("plain", "bare", "ray"), 2
STEPS = 4  # between two marks: the recipe's own mathematics repeats after as many
PARTS = 5  # of the whole time, whose ratios show what time does
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

    def seconds_a_step(self, marks: Sequence[Mark], start: float, stop: float) -> float:
        """Between the first and the last mark of each turn, once it has settled, of those that begin in a time."""
        seconds, steps = 0.0, 0
        for began, ended in self.turns:
            found = [mark for mark in marks if began + SETTLE_S <= mark[0] <= ended and start <= began <= stop]
            for (first, before), (last, after) in zip(found[:1], found[-1:], strict=True):
                seconds, steps = seconds + last - first, steps + after - before
        return seconds / steps

    def _tell(self, what: signal.Signals) -> None:
        root = psutil.Process(self.process.pid)
        for each in [*root.children(recursive=True), root]:
            try:
                each.send_signal(what)
            except psutil.NoSuchProcess:
                continue


def bare(path: str, *, kept: bool) -> None:
    """Steps without an end, and a line of a file for every few."""
    import torch

    from stargan_ray.data.schema import EXPRESSIONS
    from stargan_ray.training.host_memory import freed_is_kept
    from stargan_ray.training.loop import fresh_state
    from stargan_ray.training.parts import cut
    from stargan_ray.training.step import run_step
    from stargan_ray.training.worker import LocalWorker

    torch.set_num_threads(1)
    recipe, worker = recipe_of(1), LocalWorker()
    state = fresh_state(recipe, len(EXPRESSIONS), worker, {})
    images = ("source", "reference", "reference2")
    raw = {name: torch.randint(256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8) for name in images}
    raw |= {name: torch.randint(len(EXPRESSIONS), (BATCH,)) for name in ("source_label", "target_label")}
    lanes = range(recipe.data.shape.lanes)
    keeping = freed_is_kept(worker.device) if kept else contextlib.nullcontext()
    with Path(path).open("a") as file, keeping:
        while True:
            for _ in range(STEPS):
                run_step(state, worker, cut(recipe, raw, lanes, state.step), ema=recipe.train.ema)
            file.write(f"{time.time()} {state.step}\n")
            file.flush()


def trained(uri: str, *, by_ray: bool) -> None:
    """A training that is longer than what is measured of it."""
    from stargan_ray.config import override
    from stargan_ray.runtime import launch
    from stargan_ray.runtime.run import Run

    long = {"train.steps": 100_000, "train.checkpoint_every": 100_000, "train.report_every": STEPS}
    recipe = override(recipe_of(1), long)
    path = Path(uri)
    run = Run(recipe, str(path.parent / "faces"), str(path.parent), path.name)
    (launch.fit if by_ray else launch.fit_here)(run)


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
    """Start all, let them take turns, and report."""
    with tempfile.TemporaryDirectory() as folder:
        faces = FacesConfig(people=60, images_per_person=16, size=SIZE, splits=(1.0, 0.0, 0.0))
        write_dataset(f"{folder}/faces", read_faces(faces))
        names = [f"{kind}-{number}" for number in range(EACH) for kind in KINDS]
        reports = {name: Reports(f"{folder}/{name}") for name in names if name.startswith(("local", "ray"))}
        marks = {n: reports[n].marks if n in reports else partial(marks_of_bare, Path(folder, n)) for n in names}
        turns: dict[str, Turns] = {}
        with Path(folder, "said").open("wb") as said:
            for name in names:
                command = [sys.executable, __file__, name.split("-")[0], f"{folder}/{name}"]
                turns[name] = Turns(subprocess.Popen(command, stdout=said, stderr=said))
                until(marks[name], 16 if name.startswith("ray") else 4, turns[name].process)  # Ray Data's segments grow
                turns[name].hold()
            start = time.time()
            for _ in range(ROUNDS):
                for name in random.sample(names, len(names)):
                    turns[name].go(TURN_S)
                for each in marks.values():
                    each()
            stop = time.time()
            seen = {name: found() for name, found in marks.items()}
            for turn in turns.values():
                turn.end()
    waits = {name: [report.waited[step] for at, step in seen[name] if at >= start] for name, report in reports.items()}
    show(turns, seen, (start, stop), {name: round(statistics.mean(each), 4) for name, each in waits.items()})


def show(
    turns: dict[str, Turns], marks: dict[str, list[Mark]], within: tuple[float, float], waits: dict[str, float]
) -> None:
    """Print the ratios and their spread, and write the record."""
    start, stop = within
    edges = [start + (stop - start) * n / PARTS for n in range(PARTS + 1)]
    spans = [within, *itertools.pairwise(edges)]
    taken = {name: [turn.seconds_a_step(marks[name], a, b) for a, b in spans] for name, turn in turns.items()}
    facts: dict[str, object] = {"seconds_a_step": {name: round(times[0], 4) for name, times in taken.items()}}
    for mine, base in itertools.permutations(KINDS, 2):
        facts[f"{mine}_to_{base}"] = ratios(taken, mine, base)
    facts["data_wait_share"] = waits
    facts["steps"] = {name: len([at for at, _ in each if start <= at <= stop]) * STEPS for name, each in marks.items()}
    for name, value in facts.items():
        print(f"{name}: {value}")
    record = {
        "name": "ray-cost",
        "command": "python benchmarks/ray_cost.py",
        "commit": commit(),
        "hardware": hardware() | {"threads": "1"},
        "settle_s": SETTLE_S,
        "load": [round(each, 2) for each in os.getloadavg()],
        "recipe": {"name": RECIPE, "size": SIZE, "batch": BATCH},
        **facts,
        "turns": {name: each.turns for name, each in turns.items()},
        "marks": marks,
    }
    (RESULTS / "ray-cost.json").write_text(json.dumps(record))


def ratios(taken: dict[str, list[float]], mine: str, base: str) -> dict[str, object]:
    """Of two kinds' speeds: over all of it, by parts of the time and for each two of their processes."""

    def mean(kind: str, span: int) -> float:
        return statistics.mean(taken[f"{kind}-{number}"][span] for number in range(EACH))

    pairs = [taken[f"{base}-{b}"][0] / taken[f"{mine}-{a}"][0] for a in range(EACH) for b in range(EACH)]
    parts = [mean(base, span) / mean(mine, span) for span in range(1, PARTS + 1)]
    return {
        "whole": round(mean(base, 0) / mean(mine, 0), 4),
        "parts": [round(each, 4) for each in parts],
        "standard_error_of_parts": round(statistics.stdev(parts) / len(parts) ** 0.5, 4),
        "processes": [round(each, 4) for each in sorted(pairs)],
    }


if __name__ == "__main__":
    role, *where = sys.argv[1:] or ["all"]
    {
        "plain": partial(bare, kept=False),
        "bare": partial(bare, kept=True),
        "local": partial(trained, by_ray=False),
        "ray": partial(trained, by_ray=True),
        "all": main,
    }[role](*where)
