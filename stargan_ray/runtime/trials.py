"""The trials of a search as a reader sees them who loads no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from stargan_ray.data import storage

OVER = ("finished", "stopped", "diverged")  # never done again; what failed for another reason is


@dataclass(frozen=True)
class TrialSeen:
    """A trial of a search's ledger.

    Attributes:
        key: of it; its run's folder ends with it.
        order: in which it was begun.
        label: of a point that is always tried; else empty.
        fields: dotted path -> value.
        status: as the ledger has it; of one that runs no more, though the ledger has it running, ``cut off``.
        step: of the last rung; 0 = none yet.
        score: there; None = none yet.
        why: it failed.
    """

    key: str
    order: int
    label: str
    fields: Mapping[str, Any]
    status: str
    step: int
    score: float | None
    why: str


def read_trials(uri: str, pool: Executor) -> list[TrialSeen]:
    """The trials of the search at ``uri``, in the order in which they were begun; what cannot be read is left out."""
    where = storage.join(uri, "trials")
    names = [name for name in storage.list_names(where) if name.endswith(".json") and not name.startswith(".")]
    found = [trial for trial in pool.map(lambda name: _trial(storage.join(where, name)), names) if trial]
    return sorted(found, key=lambda trial: (trial.order, trial.key))


def _trial(uri: str) -> TrialSeen | None:
    try:
        told = json.loads(storage.read_bytes(uri))
        nothing: dict[str, Any] = {"step": 0, "values": {}}
        last = told["rungs"][-1] if told["rungs"] else nothing
        score = last["values"].get("score")
        texts = {name: told[name] for name in ("key", "order", "label", "fields", "status", "why")}
        return TrialSeen(**texts, step=last["step"], score=score)
    except (ValueError, TypeError, KeyError, storage.StorageError):
        return None
