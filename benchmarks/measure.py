"""What every benchmark states of itself, and the timing that they share."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stargan_ray.runtime import lineage

RESULTS = Path(__file__).parent / "results"


def rounds(usual: int) -> int:
    """How often each piece of work is timed: the variable ROUNDS, as ``make bench`` sets it, or so often."""
    return int(os.environ.get("ROUNDS", usual))


def alternate(
    rounds: int, before: Callable[[], object] = lambda: None, **work: Callable[[], object]
) -> dict[str, list[float]]:
    """Seconds of each piece of work, taken in turn so that a slow minute of the machine meets all of them.

    Args:
        rounds: how often.
        before: done before each of them, outside its time.
        work: name -> what is timed.

    Returns:
        name -> seconds of each round, and ``<name>_cpu`` -> those that this process was computing: on a machine that
        others use too, only these tell what the work costs.
    """
    for run in work.values():
        before()
        run()  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in work} | {f"{name}_cpu": [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            before()
            start, computed = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - start)
            seconds[f"{name}_cpu"].append(time.process_time() - computed)
    return seconds


def throughput(seconds: dict[str, list[float]], of: str, to: str) -> dict[str, float]:
    """How many times as fast one piece of work is as another: the median over the rounds, and the extremes."""
    ratios = sorted(base / mine for mine, base in zip(seconds[of], seconds[to], strict=True))
    shown = {"median": statistics.median(ratios), "lowest": ratios[0], "highest": ratios[-1]}
    return {key: round(value, 3) for key, value in shown.items()}


def report(name: str, command: str, seconds: dict[str, list[float]], **facts: Any) -> None:
    """Print medians and ratios to the first entry, and write the raw data."""
    medians = {key: statistics.median(values) for key, values in seconds.items() if not key.endswith("_cpu")}
    base_name, base = next(iter(medians.items()))
    print(f"{name}  (baseline: {base_name})")
    for key, value in medians.items():
        low, high = min(seconds[key]), max(seconds[key])
        print(f"  {key:24} {value * 1e3:9.1f} ms  [{low * 1e3:.1f}, {high * 1e3:.1f}]  x{base / value:.2f}")
    for key, value in facts.items():
        print(f"  {key}: {value}")
    RESULTS.mkdir(exist_ok=True)
    record = {
        "name": name,
        "command": command,
        "commit": commit(),
        "hardware": hardware(),
        "load": [round(each, 2) for each in os.getloadavg()],  # of 1, 5 and 15 minutes, this program's own included
        "seconds": seconds,
        **facts,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1))


def commit() -> str:
    """The commit of what is measured, with ``+changes`` where it was edited; results written just now are no edit."""
    found = lineage.commit()
    others = ["git", "status", "--porcelain", "--untracked-files=no", "--", ":/", f":(exclude){RESULTS}"]
    told = subprocess.run(others, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return found if told.returncode or told.stdout else found.removesuffix("+changes")


def hardware() -> dict[str, str]:
    """Processor, cores and versions."""
    import torch

    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": model[0].split(":")[1].strip() if model else platform.machine(),
        "cores": str(len(model)),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
    }
