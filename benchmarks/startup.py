"""From the command to the first step, and to the help: whole processes, beside a Python that imports PyTorch alone.

python benchmarks/startup.py     # three minutes on two cores
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from measure import alternate, report, rounds, throughput

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.runtime.standing import read_now

ROOT = Path(__file__).parents[1]
ROUNDS = rounds(3)
HELP = ("train", "tune", "evaluate", "ingest", "translate", "status")
RECIPE = "stargan-v2-tiny"


def process(*command: str, folder: Path) -> None:
    """Run Python to its end; what it says is kept back unless it fails."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}: {ended.stderr[-2000:]}")


def first_step(folder: Path, name: str, flags: Sequence[str]) -> float:
    """Seconds from the command to the report of the first step, of a training of three."""
    steps = ("--train.steps", "3", "--train.report-every", "1", "--train.sample-every", "0")
    began = time.time()
    where = ("--data", "faces", "--storage", "runs", "--name", name)
    process(str(ROOT / "jobs" / "train.py"), RECIPE, *where, *steps, *flags, folder=folder)
    told = read_now(str(folder / "runs" / name))
    assert told, "a run leaves its reports"
    return min(each.time for each in told.reports if each.step) - began


def main() -> None:
    """Measure and report."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, numbers = Path(temporary), itertools.count()
        faces = FacesConfig(people=20, images_per_person=16, size=32, splits=(1.0, 0.0, 0.0))
        write_dataset(str(folder / "faces"), read_faces(faces))
        work: dict[str, Callable[[], object]] = {
            "import_torch": lambda: process("-c", "import torch", folder=folder),
            "python": lambda: process("-c", "pass", folder=folder),
        }
        for job in HELP:
            script = str(ROOT / "jobs" / f"{job}.py")
            work[f"help_{job}"] = partial(process, script, "--help", folder=folder)
        seconds = {key: times for key, times in alternate(ROUNDS, **work).items() if not key.endswith("_cpu")}
        for way, flags in (("local", ("--local",)), ("ray", ())):
            taken = [first_step(folder, f"{way}-{next(numbers)}", flags) for _ in range(ROUNDS + 1)]
            seconds[f"first_step_{way}"] = taken[1:]  # the first one reads the packages from the disk
    report(
        "startup",
        "python benchmarks/startup.py",
        seconds,
        help_of_import_torch={job: throughput(seconds, "import_torch", f"help_{job}") for job in HELP},
    )


if __name__ == "__main__":
    main()
