"""From storage to the batches of a training: our sources beside a plain decode loop and torch's DataLoader.

    python benchmarks/data.py          # 64 and 256 px, from a folder and from an S3 server on loopback; six minutes

One process decodes each. ``raw`` decodes bytes that are in memory and lets the images go, ``loader`` is torch's
DataLoader over the files as a training script would have it, ``thread`` and ``ray`` are the two sources of this package
with their plans, reads and batches, and ``kept`` the first of them where all decoded images fit into memory. Of a
sample's three images most are shared with others of its window: how many are decoded for each sample is counted from
the plan. The two sources are timed in their stride, as a long training has them: from a window on from which Ray
decodes as many together as it ever does, for several times as many images as the others read; their seconds are those
for as many as the others.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from measure import alternate, report, rounds, throughput
from pictures import write_folder
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from stargan_ray.config import Recipe, override
from stargan_ray.data import storage
from stargan_ray.data.decode import decode
from stargan_ray.data.pipeline import RaySource
from stargan_ray.data.plan import Plan
from stargan_ray.data.readers.folder import FolderConfig, read_folder
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, ThreadSource
from stargan_ray.data.writing import write_dataset
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime.cluster import start_ray
from stargan_ray.runtime.plans import make_plan

SETS = ((6_400, 64, 32, 63), (1_600, 256, 7, 15))  # files, pixels, windows, those before Ray Data is in its stride
ROUNDS, LONGER = rounds(3), 4  # LONGER times as many windows for the two sources
SMALL, LARGE = 48 << 20, 1 << 30  # memory: enough for encoded images alone, and for decoded ones too
CPU = torch.device("cpu")
Work = Callable[[], object]
Batched = Iterator[dict[str, Tensor]]


class Files(torch.utils.data.Dataset[Tensor]):
    """Images of files as most training scripts read them."""

    def __init__(self, paths: list[str], size: int) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def __getitem__(self, number: int) -> Tensor:
        """One of them, (3, size, size) uint8."""
        image = Image.open(self.paths[number]).convert("RGB").resize((self.size, self.size))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def recipe_of(size: int) -> Recipe:
    """The tiny translator's data, at a size."""
    return override(recipe_named("stargan-v2-tiny"), {"data.size": size})


def decode_all(images: list[bytes], size: int) -> None:
    """Decode images one after another; nothing is kept."""
    for image in images:
        decode(image, size)


def ours(dataset: Dataset, plan: Plan, size: int, *, ray: bool = False) -> Callable[[int], Batched]:
    """The batches of a worker, from the first step to a last one, every image decoded anew."""
    lanes = plan.shape.lanes_of(0, 1)

    def batches(stop: int) -> Batched:
        source = RaySource(dataset, plan, lanes, size, SMALL) if ray else ThreadSource(dataset, plan, lanes, size)
        return Batches(source, plan, lanes, CPU).steps(0, stop)

    return batches


def in_stride(batches: Callable[[int], Batched], before: int, steps: int) -> tuple[float, float]:
    """Seconds of some steps behind others, and those that this process was computing."""
    each = batches(before + steps)
    for _ in islice(each, before):
        pass
    start, computed = time.perf_counter(), time.process_time()
    for _ in each:
        pass
    return time.perf_counter() - start, time.process_time() - computed


def kept(dataset: Dataset, plan: Plan, size: int, steps: int) -> Work:
    """The batches after two passes, when every image has been decoded."""
    lanes = plan.shape.lanes_of(0, 1)
    batches = Batches(ThreadSource(dataset, plan, lanes, size, LARGE), plan, lanes, CPU).steps(0, 1 << 30)
    for _ in islice(batches, 2 * len(dataset) // plan.shape.batch):
        pass
    return lambda: [None for _ in islice(batches, steps)]


def measure(name: str, dataset: Dataset, files: list[str], size: int, windows: int, before: int) -> None:
    """One data set by everything that can read it."""
    recipe = recipe_of(size)
    plan = make_plan(recipe, dataset)
    steps = windows * plan.shape.window
    chunks = [plan.chunk(lane, window) for lane in plan.shape.lanes_of(0, 1) for window in range(windows)]
    decoded, samples = sum(len(chunk.rows) for chunk in chunks), steps * plan.shape.batch
    images = list(dataset.images(np.resize(plan.rows, decoded)))
    work: dict[str, Work] = {"raw": partial(decode_all, images, size)}
    if files:
        loader = DataLoader(
            Files([files[i % len(files)] for i in range(decoded)], size),
            plan.shape.batch,
            shuffle=True,
            num_workers=1,
            persistent_workers=True,
        )
        work["loader"] = lambda: [None for _ in loader]
    work["kept"] = kept(dataset, plan, size, steps)
    sources = {"thread": ours(dataset, plan, size), "ray": ours(dataset, plan, size, ray=True)}
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for key, value in alternate(1, **work).items():
            seconds.setdefault(key, []).extend(value)
        for key, batches in sources.items():
            head = before if key == "ray" else 1
            found = in_stride(batches, head * plan.shape.window, LONGER * steps)
            for kind, value in zip((key, f"{key}_cpu"), found, strict=True):
                seconds.setdefault(kind, []).append(value / LONGER)
    report(
        f"data-{name}",
        "python benchmarks/data.py",
        seconds,
        decoded=decoded,
        samples=samples,
        decoded_per_sample=round(decoded / samples, 3),
        images_per_second={
            key: round(decoded / statistics.median(value)) for key, value in seconds.items() if not key.endswith("_cpu")
        },
        to_raw={key: throughput(seconds, key, "raw") for key in ("loader", *sources) if key in seconds},
        thread_to_raw_cpu=throughput(seconds, "thread_cpu", "raw_cpu"),
    )


@contextmanager
def s3_server() -> Iterator[str]:
    """A bucket of a server that is a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    given = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    os.environ |= given
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        import boto3

        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bench")
        yield "s3://bench"
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Measure both sizes from a folder and from the server."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, s3_server() as bucket:
        start_ray()
        for count, size, windows, before in SETS:
            root = write_folder(Path(folder, f"files-{size}"), count, size)
            source = read_folder(FolderConfig(str(root), allow_missing=True))
            files = sorted(str(path) for path in (root / "train").rglob("*.jpg"))
            for place, uri in (("local", f"{folder}/set-{size}"), ("s3", storage.join(bucket, f"set-{size}"))):
                write_dataset(uri, source)
                known = files if place == "local" else []
                measure(f"{size}-{place}", open_dataset(uri, SMALL), known, size, windows, before)


if __name__ == "__main__":
    main()
