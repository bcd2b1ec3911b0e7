"""What a search has tried, on storage: the only thing that a later call of it needs.

<uri>/trials/<key>.json     one point: its fields, how it stands, what the judges said at each rung

A key is made of the recipes that a point stands for, so the same point is the same trial in every call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from stargan_ray.config import Recipe, to_json
from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.evaluation.pareto import harmonic_mean
from stargan_ray.recipes.searches import Fields, Search

Status = Literal["running", "finished", "stopped", "diverged", "failed"]
_END = "end"


@dataclass(frozen=True)
class Rung:
    """What was found at a step.

    Attributes:
        step: of the training.
        values: figure -> value; both objectives and ``score``, their harmonic mean, are among them.
    """

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """One point of a search.

    Attributes:
        key: of its recipes.
        label: ``paper``, ``recipe``, … of a point that is always tried; else empty.
        fields: dotted path -> value.
        status: how it stands.
        why: it failed.
        rungs: what was found, in the order of the steps.
        seconds: spent on it by all calls.
        order: in which it was begun.
    """

    key: str
    label: str
    fields: Mapping[str, Any]
    status: Status = "running"
    why: str = ""
    rungs: tuple[Rung, ...] = ()
    seconds: float = 0.0
    order: int = 0

    @property
    def last(self) -> Mapping[str, float]:
        """The figures of the last rung; empty before the first."""
        return self.rungs[-1].values if self.rungs else {}

    @property
    def step(self) -> int:
        """Of the last rung."""
        return self.rungs[-1].step if self.rungs else 0

    @property
    def judged(self) -> bool:
        """Whether it was trained to its end and judged."""
        return self.status == "finished" and bool(self.rungs)

    def with_rung(self, step: int, figures: Mapping[str, float], objectives: tuple[str, str]) -> Trial:
        """The trial with the figures of one more step."""
        score = harmonic_mean(*(figures[name] for name in objectives))
        return replace(self, rungs=(*self.rungs, Rung(step, {**figures, "score": score})))


def trial_of(search: Search, fields: Fields, label: str = "", order: int = 0) -> Trial:
    """A point that was not tried yet.

    Raises:
        InputError: its fields are not allowed.
    """
    return Trial(key_of(search.trained(fields)), label, search.turned(fields), order=order)


def key_of(recipes: tuple[Recipe, ...]) -> str:
    """Ten hexadecimal digits that tell a trial's recipes from others."""
    told = json.dumps([to_json(recipe) for recipe in recipes], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Ledger:
    """The trials of one search.

    Attributes:
        uri: ``<storage>/<name>``.
    """

    uri: str

    def write(self, trial: Trial) -> None:
        """Store a trial as it stands now."""
        text = json.dumps(asdict(trial), indent=1, ensure_ascii=False, allow_nan=False)
        storage.write_bytes(self._where(trial.key), text.encode())

    def find(self, key: str) -> Trial | None:
        """A trial by its key; None = it was never begun.

        Raises:
            InputError: its file is of another program.
        """
        where = self._where(key)
        if not storage.exists(where):
            return None
        try:
            told = json.loads(storage.read_bytes(where))
            rungs = tuple(Rung(**rung) for rung in told.pop("rungs"))
            return Trial(**told, rungs=rungs)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{where} is no trial of a search ({error}): delete it, and it is tried again") from error

    def all(self) -> list[Trial]:
        """All trials, in the order in which they were begun."""
        keys = [name.removesuffix(".json") for name in storage.list_names(storage.join(self.uri, "trials"))]
        found = [trial for key in keys if (trial := self.find(key)) is not None]
        return sorted(found, key=lambda trial: (trial.order, trial.key))

    def ask_to_end(self, wanted: bool = True) -> None:
        """Tell all running trials to end with a checkpoint, or take that back."""
        if wanted:
            storage.write_bytes(storage.join(self.uri, _END), b"all running trials end when they see this file\n")
        elif self.asked_to_end():
            storage.delete(storage.join(self.uri, _END))

    def asked_to_end(self) -> bool:
        """Whether they were told."""
        return storage.exists(storage.join(self.uri, _END))

    def _where(self, key: str) -> str:
        return storage.join(self.uri, "trials", f"{key}.json")
