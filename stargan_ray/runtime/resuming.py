"""Whether a run that exists may go on as it is asked for now."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stargan_ray.config import flatten, from_json
from stargan_ray.errors import InputError
from stargan_ray.runtime.run import Run
from stargan_ray.training.checkpoint import Checkpoints
from stargan_ray.training.worker import Worker

# Fields that a resumed run may change: they decide how long and where, not what a step computes but for rounding.
_FREE = ("train.steps", "train.threads", "train.report_every", "train.sample_every", "train.validate_every")
_FREE_PREFIXES = (
    "scale.",
    "train.checkpoint_every",
    "train.best",
    "train.higher",
    "data.cache",
    "data.readers",
    "about",
)


@contextlib.contextmanager
def latest_copy(checkpoints: Checkpoints, worker: Worker, say: Callable[[str], object]) -> Iterator[Path | None]:
    """A local copy of the latest whole checkpoint, or None; all workers call it and get the one that rank 0 found.

    Args:
        checkpoints: of the run.
        worker: the process.
        say: told of those that are damaged.

    Raises:
        InputError: there are checkpoints, and none of them is whole.
    """
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as temporary:
        folder = Path(temporary)
        name = worker.told(checkpoints.fetch_latest(folder, say) if worker.rank == 0 else "")
        if name and worker.rank:
            checkpoints.fetch(name, folder)
        yield folder if name else None


def require_same(run: Run, latest: Mapping[str, Any], data_hash: str) -> None:
    """A name continues one computation: a changed field or other data would make a run that no config describes.

    Args:
        run: the one that is to go on.
        latest: what its latest checkpoint says of itself.
        data_hash: of the content of the data set that it is to go on with, wherever that lies now.

    Raises:
        InputError: a field or the data is another one.
    """
    # rebuilt, so that a field which is younger than the run has its default
    before = flatten(from_json(latest["recipe"]))
    now = flatten(run.recipe)
    for name in sorted({*before, *now}):
        if name not in _FREE and not name.startswith(_FREE_PREFIXES) and before.get(name) != now.get(name):
            raise InputError(
                f"run {run.name!r} exists with {name} = {before.get(name)!r}, now {now.get(name)!r}: "
                "give another --name, or the same value to continue it"
            )
    before_hash = latest.get("data_hash", data_hash)
    if before_hash != data_hash:
        raise InputError(
            f"run {run.name!r} exists with data of content {before_hash[:12]}, {run.data} has {data_hash[:12]}: "
            "give another --name, or the same data to continue it"
        )
