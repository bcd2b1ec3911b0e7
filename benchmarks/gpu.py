"""Iterations of StarGAN v2 with its published networks on a GPU: ours in several ways against the textbook's.

    python benchmarks/gpu.py                        256 px, batches of 8 and 32
    python benchmarks/gpu.py --size 128 --batches 8 --ways textbook bf16 fused

The textbook (``textbook.py``) is the published order in fp32 as PyTorch runs it out of the box: convolutions in TF32,
channels first, cuDNN choosing its algorithms by trial. Beside each time stand the arithmetic that was needed as a
share of what a plain bf16 matrix product reaches on the same card in the same run, and the peak memory.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from measure import commit, hardware  # isort: skip
from peer import Peer, imported  # isort: skip
from textbook import TextbookV2  # isort: skip
from stargan_ray.methods.base import fuse
from stargan_ray.methods.stargan_v2 import StarGANv2
from stargan_ray.recipes import recipe_named
from stargan_ray.schedules import LinearDecay
from stargan_ray.training.costs import costs
from stargan_ray.training.graphs import GraphedStep
from stargan_ray.training.loop import placed
from stargan_ray.training.step import State, run_step
from stargan_ray.training.worker import LocalWorker

DOMAINS = 8
METHOD = StarGANv2(lambda_ds=LinearDecay(1.0, 0))
DEVICE = torch.device("cuda")
Work = Callable[[], object]


def make_batch(batch: int, size: int) -> dict[str, Tensor]:
    """Random images and labels on the device."""
    images = {k: torch.rand(batch, 3, size, size, device=DEVICE) * 2 - 1 for k in ("source", "reference", "reference2")}
    labels = {k: torch.randint(DOMAINS, (batch,), device=DEVICE) for k in ("source_label", "target_label")}
    return images | labels


def textbook(batch: int, size: int) -> Work:
    """Channels first, nothing shared, nothing frozen."""
    torch.manual_seed(0)
    networks = {name: net.to(DEVICE) for name, net in METHOD.networks(size, DOMAINS).items()}
    return TextbookV2(METHOD, networks, make_batch(batch, size))


def ours(
    batch: int, size: int, *, bf16: bool = False, last: bool = True, fused: bool = False, graph: bool = False
) -> Work:
    """``run_step`` as the loop calls it."""
    torch.manual_seed(0)
    place = placed if last else nn.Module.to
    networks = {name: place(net, DEVICE) for name, net in METHOD.networks(size, DOMAINS).items()}
    if fused:
        networks = {name: fuse(net) for name, net in networks.items()}
    averaged = {name: copy.deepcopy(networks[name]).requires_grad_(False) for name in METHOD.averaged}
    optimizers = {name: METHOD.optimizer(name, list(net.parameters())) for name, net in networks.items()}
    state = State(METHOD, networks, networks, {}, averaged, optimizers)
    worker = LocalWorker(DEVICE)
    content = make_batch(batch, size)

    def normal(_: str, width: int) -> Tensor:
        return torch.randn(batch, width, device=DEVICE)

    if graph:
        graphed = GraphedStep(state, worker, 0.999, bf16)
        return lambda: graphed([(content, normal)])
    return lambda: run_step(state, worker, [(content, normal)], ema=0.999, bf16=bf16)


WAYS: dict[str, Callable[[int, int], Work]] = {
    "textbook": textbook,
    "tf32_first": lambda batch, size: ours(batch, size, last=False),
    "tf32": ours,
    "bf16_first": lambda batch, size: ours(batch, size, bf16=True, last=False),
    "bf16": lambda batch, size: ours(batch, size, bf16=True),
    "fused": lambda batch, size: ours(batch, size, bf16=True, fused=True),
    "fused_first": lambda batch, size: ours(batch, size, bf16=True, fused=True, last=False),
    "graph": lambda batch, size: ours(batch, size, bf16=True, graph=True),
    "fused_graph": lambda batch, size: ours(batch, size, bf16=True, fused=True, graph=True),
}


def matrix_ceiling() -> float:
    """TFLOP/s of a bf16 matrix product of 8192 × 8192 random numbers."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    seconds = timed(lambda: a @ b, 20)
    return 2 * 8192**3 / statistics.median(seconds) / 1e12


def timed(work: Work, rounds: int) -> list[float]:
    """Seconds of each round between two waits for the device; three rounds before them do not count."""
    for _ in range(3):
        work()
    seconds = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def measure(way: str, batch: int, size: int, rounds: int, gflop: float, ceiling: float) -> dict[str, Any]:
    """One way at one batch size, alone on the device."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    try:
        work = WAYS[way](batch, size)
        seconds = timed(work, rounds)
    except Exception:  # one way that fails must not cost the others
        return {"way": way, "batch": batch, "size": size, "error": traceback.format_exc()[-1500:]}
    median = statistics.median(seconds)
    rate = batch * gflop / median / 1e3
    return {
        "way": way,
        "batch": batch,
        "size": size,
        "seconds": seconds,
        "ms": round(median * 1e3, 2),
        "images_per_second": round(batch / median, 1),
        "tflop_per_second": round(rate, 1),
        "of_ceiling": round(rate / ceiling, 3),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "start_s": round(time.perf_counter() - began - sum(seconds), 1),
    }


def main() -> None:
    """Measure, print a table with ratios to the textbook, write the raw data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, choices=(64, 128, 256))
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--benchmark", action=argparse.BooleanOptionalAction, default=True, help="of cuDNN")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "gpu.json"))
    parser.add_argument("--peer", default="", help="folder of a checkout of the published code, timed first")
    given = parser.parse_args()
    if given.peer:
        imported(given.peer)  # what is missing is told before anything is measured
        WAYS["peer"] = lambda batch, size: Peer(given.peer, METHOD, make_batch(batch, size), DOMAINS)
        given.ways.insert(0, "peer")
    torch.backends.cudnn.benchmark = given.benchmark
    gflop = costs(recipe_named(f"stargan-v2-{given.size}"), DOMAINS, {}).gflop
    ceiling = matrix_ceiling()
    print(f"{torch.cuda.get_device_name()}: bf16 matrix product {ceiling:.0f} TFLOP/s", flush=True)
    rows: list[dict[str, Any]] = []
    for batch in given.batches:
        base: dict[str, Any] = {}
        for way in given.ways:
            row = measure(way, batch, given.size, given.rounds, gflop, ceiling)
            base = base or row
            if "ms" in row and "ms" in base:
                row["times"] = round(base["ms"] / row["ms"], 2)
                row["memory"] = round(row["peak_gib"] / base["peak_gib"], 2)
            rows.append(row)
            print({k: v for k, v in row.items() if k != "seconds"}, flush=True)
            record = {
                "command": "python benchmarks/gpu.py " + " ".join(sys.argv[1:]),
                "commit": commit(),
                "hardware": hardware() | {"gpu": torch.cuda.get_device_name()},
                "ceiling_tflop_per_second": ceiling,
                "gflop_per_image": gflop,
                "rows": rows,
            }
            Path(given.out).write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
