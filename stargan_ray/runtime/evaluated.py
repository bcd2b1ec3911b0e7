"""Reading what jobs/evaluate.py has measured of a translator: evaluation.json and, row by row, values.parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.evaluation.challenge import Values
from stargan_ray.evaluation.intervals import Estimate, bootstrap_mean, proportion
from stargan_ray.evaluation.judging import SHARES
from stargan_ray.evaluation.report import at

_REQUEST = {"person": pa.types.is_string, "target": pa.types.is_integer}
_NAMED = ("model.content_hash", "data.content_hash", "judges.expression", "judges.identity")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a translator.

    Attributes:
        uri: of its folder.
        model_hash: of the translator's weights.
        data_hash: of the data set whose faces were translated.
        judges: who judged: ``expression`` and ``identity`` -> name and hash.
        requests: what was asked for, one line a translation: person and target.
        values: figure -> (n,) one number a translation, in the order of the requests.
        real: figure -> the same judge's mean on real images, where that was measured.
    """

    uri: str
    model_hash: str
    data_hash: str
    judges: Mapping[str, str]
    requests: pa.Table
    values: Values
    real: Mapping[str, float]

    @property
    def persons(self) -> npt.NDArray[Any]:
        """(n,) whose translations they are."""
        return np.asarray(self.requests["person"].to_numpy())

    def figures(self) -> dict[str, Estimate]:
        """Each figure with its interval by person, over the translations that it could be measured on.

        Raises:
            InputError: There are fewer than two people.
        """
        found = {}
        for name, values in self.values.items():
            if (known := np.isfinite(values)).any():
                measure = proportion if name in SHARES else bootstrap_mean
                found[name] = measure(values[known], self.persons[known])
        return found


def read_evaluation(uri: str) -> Evaluation:
    """Read the folder that jobs/evaluate.py wrote for a translator.

    Args:
        uri: a path or ``s3://bucket/prefix``.

    Raises:
        InputError: It is not there, or not of a translator, or damaged.
    """
    uri = storage.absolute(uri)
    where = storage.join(uri, "evaluation.json")
    if not storage.exists(where):
        raise InputError(f"{uri} holds no evaluation.json: it is the --out of jobs/evaluate.py")
    try:
        told = json.loads(storage.read_bytes(where))
    except ValueError as error:
        raise InputError(f"{where} is damaged ({error}): run jobs/evaluate.py again") from error
    named = {name: at(told, name) for name in _NAMED}
    for name, value in named.items():
        if not isinstance(value, str) or not value:
            raise InputError(f"{where} lacks {name!r}: it is no evaluation of a translator by jobs/evaluate.py")
    judges = {name: named[f"judges.{name}"] for name in ("expression", "identity")}
    requests, values = _read_values(storage.join(uri, "values.parquet"))
    model, data = named["model.content_hash"], named["data.content_hash"]
    return Evaluation(uri, model, data, judges, requests, values, _numbers(at(told, "real")))


def _read_values(where: str) -> tuple[pa.Table, Values]:
    """The requests and the figures of a table of translations."""
    try:
        table = pq.read_table(pa.BufferReader(storage.read_bytes(where))).replace_schema_metadata(None)
    except (pa.ArrowInvalid, ValueError) as error:
        raise InputError(f"{where} is damaged ({error}): run jobs/evaluate.py again") from error
    for name, fits in _REQUEST.items():
        if name not in table.column_names or not fits(table.schema.field(name).type) or table[name].null_count:
            raise InputError(f"{where}: column {name!r} is missing or is not what jobs/evaluate.py writes")
    figures = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    values = {name: table[name].to_numpy().astype(np.float64) for name in figures}
    return table.select(list(_REQUEST)), values


def _numbers(section: object) -> dict[str, float]:
    """The plain numbers of a section of the report; what could not be measured is null there."""
    if not isinstance(section, Mapping):
        return {}
    return {
        name: float(value)
        for name, value in section.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
