"""A run's checkpoints as a reader sees them who needs no weights and loads no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from stargan_ray.data import storage
from stargan_ray.runtime.standing import finite


@dataclass(frozen=True)
class Saved:
    """A complete checkpoint.

    Attributes:
        name: of its folder.
        step: that it is of.
        written: by the clock of the storage, seconds since 1970; 0 = not known.
        figures: metrics that it says of itself.
        meta: the rest of what it says of itself.
    """

    name: str
    step: int
    written: float
    figures: Mapping[str, float | None] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def train(self) -> Mapping[str, Any]:
        """How its run trains."""
        found: Mapping[str, Any] = self.meta.get("recipe", {}).get("train", {})
        return found


def saved_checkpoints(uri: str, pool: Executor) -> list[Saved]:
    """The complete checkpoints of the run at ``uri``, oldest first; one that vanishes meanwhile is left out."""
    where = storage.join(uri, "checkpoints")
    names = sorted(each.name for each in storage.list_folder(where) if each.name.startswith("step-") and each.folder)
    found = pool.map(lambda name: _saved(storage.join(where, name), name), names)
    return [each for each in found if each]


def best_of(saved: list[Saved]) -> Saved | None:
    """The checkpoint that the run's own metric chooses, as ``Checkpoints.best_name`` does; None = there is none."""
    if not saved:
        return None
    metric, sign = saved[-1].train.get("best", ""), 1 if saved[-1].train.get("higher_is_better", True) else -1
    judged = [(sign * value, each) for each in saved if (value := each.figures.get(metric)) is not None]
    return max(judged, key=lambda pair: pair[0])[1] if judged else saved[-1]


def _saved(uri: str, name: str) -> Saved | None:
    try:
        written = [each.modified / 1e9 for each in storage.list_folder(uri) if each.name == "meta.json"]
        meta = json.loads(storage.read_bytes(storage.join(uri, "meta.json")))
        figures = {key: finite(value) for key, value in meta.get("metrics", {}).items()}
        return Saved(name, int(meta["step"]), written[0], figures, meta)
    except (storage.StorageError, ValueError, TypeError, LookupError, AttributeError):
        return None  # half written, damaged, or gone: not complete
