"""A model, not a measurement: a step of StarGAN v2 on 1 to 64 GPUs, from what one GPU and a few cores have shown.

    python benchmarks/scaling_model.py           # as Markdown; computes nothing else, a few seconds
    python benchmarks/scaling_model.py --faster 4

Measured are the step of one H200 (``results/gpu.json``: 256 px, batch 8, bf16 autocast), how many bytes travel beside
the least possible (``results/network.json``) and the share of a step behind which they can (``results/overlap.json``),
both on cores. The links are as published, their latencies and what is reached of them assumed; README.md has the
doubts. Every GPU keeps its batch, so the global batch grows with them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
GPUS = (1, 2, 4, 8, 16, 32, 64)
NODE = 8  # GPUs of a node
_BUCKET = 25 << 20  # bytes of a bucket of DistributedDataParallel
REACHED = 0.8  # assumed: what a collective gets of a link's published bandwidth


@dataclass(frozen=True)
class Link:
    """Between two neighbours of the ring.

    Attributes:
        name: of it.
        rate: bytes a second in one direction, as published.
        hop_s: seconds that a message of no bytes takes, assumed.
    """

    name: str
    rate: float
    hop_s: float


NVLINK = Link("NVLink 4", 450e9, 3e-6)  # 900 GB/s a GPU, half of it each way
BETWEEN = tuple(Link(f"{gbit} Gbit/s", gbit * 1e9 / 8, 15e-6) for gbit in (100, 200, 400))  # of a node, all its GPUs


@dataclass(frozen=True)
class Step:
    """What one GPU does.

    Attributes:
        seconds: of a step alone.
        updates: bytes of the gradients of each network that each phase updates.
        hides: share of the step in which some gradients of an update are complete and others not yet.
        overhead: bytes that travel over the least possible.
    """

    seconds: float
    updates: tuple[float, ...]
    hides: float = 0.0
    overhead: float = 1.0


def least_sent(workers: int, gradients: float) -> float:
    """Bytes that each worker must send at least to have the mean of so many bytes over all."""
    return 2 * (workers - 1) / workers * gradients


def ring_s(workers: int, gradients: float, link: Link, collectives: int = 1) -> float:
    """Seconds of all-reduces by a ring: its slowest link sets the pace, in 2·(N−1) hops each."""
    if workers == 1:
        return 0.0
    return least_sent(workers, gradients) / (REACHED * link.rate) + 2 * (workers - 1) * link.hop_s * collectives


def step_s(step: Step, gpus: int, between: Link, *, bf16: bool = False, overlap: bool = False) -> float:
    """Seconds of a step on so many GPUs.

    Args:
        step: of one GPU.
        gpus: that train; up to ``NODE`` are in one node.
        between: link between nodes.
        bf16: gradients travel in half the bytes.
        overlap: the exchange hides behind the backward pass as far as it can; the last bucket of an update never does.
    """
    link = NVLINK if gpus <= NODE else between
    scale = step.overhead * (0.5 if bf16 else 1.0)
    whole = sum(ring_s(gpus, scale * size, link, _buckets(size)) for size in step.updates)
    if not overlap:
        return step.seconds + whole
    last = sum(ring_s(gpus, scale * min(size, _BUCKET), link) for size in step.updates)
    return step.seconds + max(whole - step.hides * step.seconds, last)


def efficiency(step: Step, gpus: int, between: Link, *, bf16: bool = False, overlap: bool = False) -> float:
    """Images a second a GPU, of those of one GPU alone."""
    return step.seconds / step_s(step, gpus, between, bf16=bf16, overlap=overlap)


def _buckets(gradients: float) -> int:
    return math.ceil(gradients / _BUCKET)


def measured(faster: float = 1.0) -> Step:
    """The step of the results, or one that many times as fast."""
    from stargan_ray.methods.stargan_v2 import StarGANv2

    calls = json.loads((RESULTS / "gpu.json").read_text())["calls"]
    rows = [row for row in calls[0]["rows"] if (row["way"], row["batch"], row["size"]) == ("bf16", 8, 256)]
    wire = json.loads((RESULTS / "network.json").read_text())
    overhead = max(row["ratio"] for call in wire["calls"] for row in call["rows"] if row["recipe"].endswith("-64"))
    method = StarGANv2()
    sizes = {name: 4.0 * sum(p.numel() for p in net.parameters()) for name, net in method.networks(256, 8).items()}
    updates = tuple(sizes[name] for phase in method.phases() for name in phase.updates)
    hides = json.loads((RESULTS / "overlap.json").read_text())["share_to_hide_behind"]["median"]
    return Step(rows[0]["ms"] / 1e3 / faster, updates, hides, overhead)


def table(step: Step, gpus: Sequence[int] = GPUS) -> str:
    """Milliseconds a step and efficiency, with nothing hidden and with what can be, as Markdown."""
    ways = [(bf16, overlap) for bf16 in (False, True) for overlap in (False, True)]
    heads = [
        f"{'bf16' if bf16 else 'fp32'}, {'overlapped' if overlap else 'one after the other'}" for bf16, overlap in ways
    ]
    rows = ["| GPUs | between nodes | " + " | ".join(heads) + " |", "|---:|---|" + "---:|" * len(ways)]
    for number in gpus:
        for link in BETWEEN if number > NODE else BETWEEN[:1]:
            times = [step_s(step, number, link, bf16=bf16, overlap=overlap) for bf16, overlap in ways]
            cells = [f"{each * 1e3:.0f} ms ({step.seconds / each:.2f})" for each in times]
            rows.append(f"| {number} | {link.name if number > NODE else '–'} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Print the table and what it rests on."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--faster", type=float, default=1.0, help="as if one GPU's step were so many times as fast")
    step = measured(asked.parse_args().faster)
    print("A model, not a measurement.")
    print(f"One GPU: {step.seconds * 1e3:.0f} ms a step of 8 images at 256 px.")
    print(f"Gradients: {sum(step.updates) / 1e6:.0f} MB a step in fp32; {step.overhead:.4f} of the bound travel.")
    print(f"To hide behind: {step.hides:.3f} of it. Assumed: {REACHED} of a link's bandwidth, one ring through all.\n")
    print(table(step))


if __name__ == "__main__":
    main()
