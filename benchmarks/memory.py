"""Memory of jobs/ingest.py and jobs/refine.py over 10,000 and 100,000 rows, of each process at its peak.

python benchmarks/memory.py                  # six minutes on two cores
python benchmarks/memory.py 2000 12000       # other numbers of rows: two and a half

A .zip of faces of 32 pixels is ingested, and what comes of it is scored by ``expression-tiny`` and refined, all rows
kept; by one process and by two of Ray. What grows with the rows is stated in bytes a row.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from measure import RESULTS, commit, hardware
from pictures import write_zip
from refine import make_model

JOBS = Path(__file__).parents[1] / "jobs"
SIZES = (10_000, 100_000)  # rows
EVERY_S = 0.2


@dataclass
class Peaks:
    """The most memory of each kind of process below one: its own (USS), and its share of what is shared too (PSS)."""

    bytes: dict[str, dict[str, int]] = field(default_factory=dict)

    def watch(self, root: psutil.Process, ended: threading.Event) -> None:
        """Sample until the end."""
        while not ended.wait(EVERY_S):
            for role, process in _family(root):
                try:
                    memory = process.memory_full_info()
                except psutil.Error:  # it ended in between
                    continue
                mine = self.bytes.setdefault(role, {"uss": 0, "pss": 0})
                mine["uss"], mine["pss"] = max(mine["uss"], memory.uss), max(mine["pss"], memory.pss)


def _family(root: psutil.Process) -> Iterator[tuple[str, psutil.Process]]:
    """The driver, what does its work, and Ray's own processes."""
    yield "driver", root
    try:
        children = root.children(recursive=True)
    except psutil.Error:  # it has ended
        return
    for child in children:
        try:
            name = child.name()
        except psutil.Error:
            continue
        if name.startswith("ray::"):
            idle = name.startswith("ray::IDLE")
            yield "idle worker of Ray" if idle else "worker", child
        elif re.match(r"raylet|gcs_server", name):
            yield name, child
        else:
            yield "Ray's helpers", child


def run(job: str, *flags: str) -> dict[str, object]:
    """A job to its end: its seconds and its peaks in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(JOBS / f"{job}.py"), *flags], stdout=subprocess.DEVNULL)
    peaks, ended = Peaks(), threading.Event()
    watcher = threading.Thread(target=peaks.watch, args=(psutil.Process(process.pid), ended))
    watcher.start()
    status = process.wait()
    ended.set()
    watcher.join()
    assert status == 0, (job, flags)
    mib = {role: {kind: round(size / 2**20, 1) for kind, size in each.items()} for role, each in peaks.bytes.items()}
    return {"seconds": round(time.perf_counter() - start, 1), "mib": mib}


def measure(work: Path, sizes: tuple[int, int]) -> dict[str, dict[str, dict[str, object]]]:
    """Every job, by one process and by two, over both numbers of rows."""
    model = make_model("expression-tiny", work / "model").name.split()[0]
    found: dict[str, dict[str, dict[str, object]]] = {}
    for rows in sizes:
        archive = write_zip(work / f"{rows}.zip", rows, 32)
        for parallel in ("1", "2"):
            data, out = str(work / f"faces-{rows}-{parallel}"), str(work / f"refined-{rows}-{parallel}")
            keep = ("--policy.rule", "soft", "--policy.threshold", "0")
            for job, flags in {
                "ingest": ("folder", str(archive), "--out", data),
                "refine": ("--data", data, "--classifier", model, "--out", out, *keep),
            }.items():
                name = f"{job} by {parallel}"
                found.setdefault(name, {})[str(rows)] = run(job, *flags, "--parallel", parallel)
                print(name, rows, found[name][str(rows)], flush=True)
    return found


def growth(by_rows: dict[str, dict[str, object]], sizes: tuple[int, int]) -> dict[str, float]:
    """Bytes a row by which each kind of process is larger (USS) with more rows."""
    few, many = (by_rows[str(rows)]["mib"] for rows in sizes)
    assert isinstance(few, dict)
    assert isinstance(many, dict)
    more = sizes[1] - sizes[0]
    return {role: round((many[role]["uss"] - few[role]["uss"]) * 2**20 / more) for role in few if role in many}


def main() -> None:
    """Measure and write the result."""
    few, many = map(int, sys.argv[1:]) if sys.argv[1:] else SIZES
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), (few, many))
    record = {
        "name": "memory",
        "command": " ".join(["python benchmarks/memory.py", *sys.argv[1:]]),
        "commit": commit(),
        "hardware": hardware(),
        "peaks": found,
        "bytes_a_row": {name: growth(by_rows, (few, many)) for name, by_rows in found.items()},
    }
    print(json.dumps(record["bytes_a_row"], indent=1))
    name = "memory" if (few, many) == SIZES else f"memory-{few}-{many}"
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
