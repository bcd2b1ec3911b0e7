"""From storage to the batches of a training: our sources beside a plain decode loop and torch's DataLoader.

    python benchmarks/data.py          # 64 and 256 px, from a folder and from an S3 server on loopback; five minutes

Everything decodes the same number of images, by one process each. ``raw`` decodes bytes that are in memory, ``loader``
is torch's DataLoader over the files as a training script would have it, ``thread`` and ``ray`` are the two sources of
this package with their plans, reads and batches, and ``kept`` the first of them where all decoded images fit into
memory. Of a sample's three images most are shared with others of its window: how many are decoded for each sample is
counted from the plan. The time in which Ray makes ready is in its figures.
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
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from measure import alternate, report, throughput
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

SETS = ((6_400, 64, 24), (1_600, 256, 8))  # files, pixels, windows
ROUNDS = 5
SMALL, LARGE = 48 << 20, 1 << 30  # memory: enough for encoded images alone, and for decoded ones too
CPU = torch.device("cpu")
Work = Callable[[], object]


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


def ours(dataset: Dataset, plan: Plan, size: int, steps: int, *, ray: bool = False) -> Work:
    """The batches of a worker, from the first step on, every image decoded anew."""
    lanes = plan.shape.lanes_of(0, 1)

    def work() -> None:
        source = RaySource(dataset, plan, lanes, size, SMALL) if ray else ThreadSource(dataset, plan, lanes, size)
        for _ in Batches(source, plan, lanes, CPU).steps(0, steps):
            pass

    return work


def kept(dataset: Dataset, plan: Plan, size: int, steps: int) -> Work:
    """The batches after two passes, when every image has been decoded."""
    lanes = plan.shape.lanes_of(0, 1)
    batches = Batches(ThreadSource(dataset, plan, lanes, size, LARGE), plan, lanes, CPU).steps(0, 1 << 30)
    for _ in islice(batches, 2 * len(dataset) // plan.shape.batch):
        pass
    return lambda: [None for _ in islice(batches, steps)]


def measure(name: str, dataset: Dataset, files: list[str], size: int, windows: int) -> None:
    """One data set by everything that can read it."""
    recipe = recipe_of(size)
    plan = make_plan(recipe, dataset)
    steps = windows * plan.shape.window
    chunks = [plan.chunk(lane, window) for lane in plan.shape.lanes_of(0, 1) for window in range(windows)]
    decoded, samples = sum(len(chunk.rows) for chunk in chunks), steps * plan.shape.batch
    images = list(dataset.images(np.resize(plan.rows, decoded)))
    work: dict[str, Work] = {"raw": lambda: [decode(image, size) for image in images]}
    if files:
        loader = DataLoader(
            Files([files[i % len(files)] for i in range(decoded)], size),
            plan.shape.batch,
            shuffle=True,
            num_workers=1,
            persistent_workers=True,
        )
        work["loader"] = lambda: [None for _ in loader]
    work["thread"] = ours(dataset, plan, size, steps)
    work["ray"] = ours(dataset, plan, size, steps, ray=True)
    work["kept"] = kept(dataset, plan, size, steps)
    seconds = alternate(ROUNDS, **work)
    report(
        f"data-{name}",
        "python benchmarks/data.py",
        seconds,
        decoded=decoded,
        samples=samples,
        decoded_per_sample=round(decoded / samples, 3),
        images_per_second={key: round(decoded / statistics.median(seconds[key])) for key in work},
        to_raw={key: throughput(seconds, key, "raw") for key in work if key not in ("raw", "kept")},
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
        for count, size, windows in SETS:
            root = write_folder(Path(folder, f"files-{size}"), count, size)
            source = read_folder(FolderConfig(str(root), allow_missing=True))
            files = sorted(str(path) for path in (root / "train").rglob("*.jpg"))
            for place, uri in (("local", f"{folder}/set-{size}"), ("s3", storage.join(bucket, f"set-{size}"))):
                write_dataset(uri, source)
                measure(f"{size}-{place}", open_dataset(uri, SMALL), files if place == "local" else [], size, windows)


if __name__ == "__main__":
    main()
