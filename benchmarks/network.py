"""Bytes that training sends over the network, by the counters of each worker's interface, beside the least possible.

    python benchmarks/network.py                       # as root; some minutes on two cores
    python benchmarks/network.py --cases tiny --workers 2 --frames --out frames.json

Two and three machines, which are network namespaces behind a bridge, with a rank of gloo on each. Averaging G bytes of
gradients over N workers takes 2·(N−1)/N·G bytes sent by each, however it is done: that is the bound. Counted is what
the machine hands to its interface, headers of TCP and IP included, but segments of up to 64 KiB as one packet, which a
real card cuts into frames; ``--frames`` counts those of 1,500 bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from measure import RESULTS, commit, hardware
from network_rank import Case
from scaling_model import least_sent

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/cluster"))
from bed_network import Machine, machines  # noqa: E402

CASES = {
    "tiny": Case("stargan-v2-id-tiny", 32, 2, 20),
    "published": Case("stargan-v2-id-64", 64, 1, 2),
}
_PORT = 29_500
_LIMIT_S = 280.0


def run(made: list[Machine], case: Case) -> list[dict[str, Any]]:
    """A rank on each machine but the first, which is the network's; what each of them found."""
    hosts = made[1:]
    place = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(made[0].home), "PATH": os.environ["PATH"]}
    processes = []
    for rank, host in enumerate(hosts):
        words = [rank, len(hosts), hosts[0].address, _PORT, host.interface, json.dumps(asdict(case))]
        command = host.enter(sys.executable, str(ROOT / "benchmarks/network_rank.py"), *map(str, words))
        environment = {**place, "GLOO_SOCKET_IFNAME": host.interface}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    found = []
    try:
        for process in processes:
            said, errors = process.communicate(timeout=_LIMIT_S)
            if process.returncode:
                raise SystemExit(f"a rank ended with {process.returncode}: {errors[-2000:]}")
            found.append(json.loads(said.splitlines()[-1]))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return found


def summary(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    """Bytes a step a worker, of the worker that sends most."""
    steps, workers = ranks[0]["steps_counted"], ranks[0]["workers"]
    least = least_sent(workers, sum(ranks[0]["gradients"]) / steps)
    counted = [(r["steps"]["sent"] - r["counting"]["sent"]) / steps for r in ranks]
    received = [(r["steps"]["received"] - r["counting"]["received"]) / steps for r in ranks]
    signs = [(r["quiet"]["sent"] - r["counting"]["sent"]) / r["quiet"]["seconds"] for r in ranks]
    return {
        "bound": round(least),
        "sent": [round(each) for each in counted],
        "received": [round(each) for each in received],
        "ratio": round(max(*counted, *received) / least, 4),
        "of_it_signs_of_life": [round(s * r["steps"]["seconds"] / steps) for s, r in zip(signs, ranks, strict=True)],
        "signs_of_life_a_second": [round(each) for each in signs],
        "report": [r["report"]["sent"] - r["counting"]["sent"] for r in ranks],
        "start": [r["start"]["sent"] for r in ranks],
        "seconds_a_step": round(max(r["steps"]["seconds"] for r in ranks) / steps, 3),
    }


def cut_into_frames(hosts: Sequence[Machine]) -> None:
    """Let every machine cut what it sends into frames of 1,500 bytes by itself, as a card does."""
    for host in hosts:
        subprocess.run(["ip", "-n", host.namespace, "link", "set", host.interface, "gso_max_segs", "1"], check=True)


def measured(workers: int, cases: Sequence[Case], frames: bool) -> Iterator[dict[str, Any]]:
    """A row of every case, on machines of their own."""
    names = ["hub", *(f"rank{n}" for n in range(workers))]
    with tempfile.TemporaryDirectory() as folder, machines(names, Path(folder)) as made:
        if not made[0].namespace:
            raise SystemExit("skipped: no network namespaces can be made here; it takes root")
        if frames:
            cut_into_frames(made[1:])
        for case in cases:
            ranks = run(made, case)
            yield {**asdict(case), "workers": workers, "frames": frames, **summary(ranks), "raw": ranks}


def line(row: dict[str, Any]) -> str:
    """What is printed of a row."""
    name = f"{row['recipe']} {row['size']} px, {row['workers']} workers, {row['gradients']}"
    name += ", frames of 1,500 bytes" if row["frames"] else ""
    sent = max(row["sent"])
    return (
        f"{name:64} {sent / 1e6:9.3f} MB a step  x{row['ratio']:.4f}  signs of life {row['signs_of_life_a_second']} B/s"
    )


def main() -> None:
    """Measure what is asked for and write it."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    asked.add_argument("--workers", nargs="+", type=int, default=[2, 3])
    asked.add_argument("--gradients", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    asked.add_argument("--frames", action="store_true", help="cut what is sent into frames of 1,500 bytes")
    asked.add_argument("--add", action="store_true", help="to what an earlier call has written")
    asked.add_argument("--out", type=Path, default=RESULTS / "network.json")
    given = asked.parse_args()
    cases = [replace(CASES[name], gradients=each) for name in given.cases for each in given.gradients]
    rows = []
    for workers in given.workers:
        for row in measured(workers, cases, given.frames):
            rows.append(row)
            print(line(row), flush=True)
    call = {
        "command": " ".join(["python", "benchmarks/network.py", *sys.argv[1:]]),
        "commit": commit(),
        "hardware": hardware(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "rows": rows,
    }
    before = json.loads(given.out.read_text())["calls"] if given.add else []
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text(json.dumps({"name": "network", "calls": [*before, call]}, indent=1))


if __name__ == "__main__":
    main()
