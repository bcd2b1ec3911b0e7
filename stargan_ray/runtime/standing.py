"""How a run or a search stands, as it says itself on storage: read without Ray, MLflow or PyTorch.

<run>/watch/now.json                          how it stands, replaced again and again while it goes on
<run>/watch/events/<time>-<kind>-<id>.json    what happened to it, one object each: stores cannot append
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from stargan_ray.data import storage

FORMAT = 1
State = Literal["training", "finished", "stopped", "failed"]
Kind = Literal["started", "restarted", "error", "ended"]
_SAID = 500  # characters of an event


@dataclass(frozen=True)
class Report:
    """Progress at a moment.

    Attributes:
        time: of the writer's clock, seconds since 1970.
        step: that was reached.
        images_per_second: since the report before, validation and checkpoints left out; 0 = not known.
        data_wait_share: of the time since then that rank 0 waited for data.
    """

    time: float
    step: int
    images_per_second: float = 0.0
    data_wait_share: float = 0.0


@dataclass(frozen=True)
class Standing:
    """What stands in now.json.

    Attributes:
        attempt: names the call that wrote it; another call of the same run is another attempt.
        beat: counts up with each writing, so that a reader sees that the writer lives whatever its clock shows.
        beat_s: longest time between two writings, seconds.
        written: when, by the writer's clock, seconds since 1970.
        started: when the attempt began, likewise.
        state: as far as the writer knows.
        why: it failed.
        host: where the writer is.
        unit: what is counted: steps, or the trials of a search.
        step: that was reached.
        steps: that are wanted.
        batch: images of a step, over all workers.
        workers: that train.
        restarts: of the workers in this attempt.
        reports: the last ones, oldest first.
        values: name -> the last number that is known; None where it was not finite.
        validated: step of the last validation; 0 = none.
        format: of the file.
    """

    attempt: str
    beat: int
    beat_s: float
    written: float
    started: float
    state: State = "training"
    why: str = ""
    host: str = ""
    unit: str = "steps"
    step: int = 0
    steps: int = 0
    batch: int = 0
    workers: int = 0
    restarts: int = 0
    reports: tuple[Report, ...] = ()
    values: Mapping[str, float | None] = field(default_factory=dict)
    validated: int = 0
    format: int = FORMAT

    def to_json(self) -> bytes:
        """The content of now.json."""
        values = {name: finite(value) for name, value in self.values.items()}
        return json.dumps({**asdict(self), "values": values}, ensure_ascii=False, allow_nan=False).encode()


@dataclass(frozen=True)
class Event:
    """Something that happened to a run.

    Attributes:
        time: of the writer's clock, seconds since 1970.
        kind: of it.
        said: in one line.
        step: that was reached by then.
    """

    time: float
    kind: Kind
    said: str
    step: int = 0


def write_now(uri: str, standing: Standing) -> None:
    """Replace now.json of the run at ``uri``; raises StorageError."""
    storage.write_bytes(storage.join(uri, "watch", "now.json"), standing.to_json())


def write_event(uri: str, event: Event) -> None:
    """Add an event to the run at ``uri``; raises StorageError."""
    name = f"{int(event.time * 1e6):017d}-{event.kind}-{uuid.uuid4().hex[:8]}.json"
    text = json.dumps(asdict(event) | {"said": " ".join(event.said.split())[:_SAID]}, ensure_ascii=False)
    storage.write_bytes(storage.join(uri, "watch", "events", name), text.encode())


def read_now(uri: str) -> Standing | None:
    """now.json of the run at ``uri``; None where there is none.

    Raises:
        ValueError: it is damaged, or of a later program.
        StorageError: storage cannot be read.
    """
    where = storage.join(uri, "watch", "now.json")
    if not storage.exists(where):
        return None
    told = json.loads(storage.read_bytes(where))
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"format {told.get('format') if isinstance(told, dict) else told!r}, allowed is {FORMAT}")
    try:
        reports = tuple(Report(**report) for report in told.pop("reports", ()))
        known = {each.name for each in fields(Standing)}
        return Standing(**{name: value for name, value in told.items() if name in known}, reports=reports)
    except TypeError as error:
        raise ValueError(str(error)) from error


def event_names(uri: str) -> list[str]:
    """The events of the run at ``uri``, oldest first; ``kind_of`` tells what each was."""
    names = storage.list_names(storage.join(uri, "watch", "events"))
    return [name for name in names if name.endswith(".json") and name.count("-") == 2]


def kind_of(name: str) -> str:
    """The kind of an event by its name."""
    return name.split("-")[1]


def read_event(uri: str, name: str) -> Event | None:
    """An event by its name; None where it cannot be read."""
    try:
        return Event(**json.loads(storage.read_bytes(storage.join(uri, "watch", "events", name))))
    except (ValueError, TypeError, storage.StorageError):
        return None


def finite(value: Any) -> float | None:
    """A number as JSON may hold it."""
    return float(value) if value is not None and math.isfinite(value) else None
