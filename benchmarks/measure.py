"""What every benchmark states of itself, and the timing that they share."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stargan_ray.runtime.session import commit

RESULTS = Path(__file__).parent / "results"


def alternate(rounds: int, **work: Callable[[], object]) -> dict[str, list[float]]:
    """Seconds of each piece of work, taken in turn so that a slow minute of the machine meets all of them."""
    for run in work.values():
        run()  # warm-up
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def report(name: str, command: str, seconds: dict[str, list[float]], **facts: Any) -> None:
    """Print medians and ratios to the first entry, and write the raw data."""
    medians = {key: statistics.median(values) for key, values in seconds.items()}
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
        "seconds": seconds,
        **facts,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1))


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
