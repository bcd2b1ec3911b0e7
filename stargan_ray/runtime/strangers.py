"""Whether the people to evaluate are strangers to the model: nobody whom it was trained on may be among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.config import from_json
from stargan_ray.data.folds import seen_rows
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.known import known_rows
from stargan_ray.runtime.examination import Docket

# Sources whose identities are names: the same name is the same person wherever the set was ingested.
_NAMED = ("faces", "kdef", "lfw")


def require_strangers(dataset: Dataset, rows: npt.NDArray[np.int64], meta: Mapping[str, Any]) -> dict[str, list[str]]:
    """Refuse people and images that a model was trained on, and say what could be checked.

    Known for sure is an image, by its content hash, and a person within one data set. Between two data sets a
    person is known by name in sources that give names, or where one set was made from the other or from the
    same files; "person 1" of two folders is nobody's name.

    Args:
        dataset: what is evaluated.
        rows: (n,) positions in its index.
        meta: the model's.

    Returns:
        ``checked`` and ``unchecked``, sentences for the report.

    Raises:
        InputError: some are in the training data: how many, and the first.
    """
    checked: list[str] = []
    unchecked: list[str] = []
    if meta.get("data_hash") == dataset.manifest.content_hash:
        training: Dataset | None = dataset
    else:
        training, why = _opened(str(meta.get("data_uri", "")))
        if why:
            unchecked.append(f"whether anybody was in the training data: {why}")
            unchecked += _own_train(dataset, rows)
    if training is not None:
        trained = _trained_rows(training, meta)
        if comparable := _comparable(dataset, training, meta):
            _refuse_people(dataset, rows, training, trained, comparable)
        _refuse_images(dataset, rows, training, trained)
        checked.append(_told(training, meta, comparable))
        others = sorted(set(dataset.index["source"].take(rows).to_pylist()) - set(comparable))
        if others:
            unchecked.append(
                f"people of the source {', '.join(others)} by name: the two sets give no names that can be compared"
            )
    if start := meta.get("init", {}):
        unchecked.append(f"the data of {start['from']}, from whose weights the training started")
    if meta.get("pretrained", "none") != "none":
        unchecked.append(f"the data of the pretrained weights ({meta['pretrained']})")
    return {"checked": checked, "unchecked": unchecked}


def require_judged_strangers(docket: Docket, meta: Mapping[str, Any]) -> dict[str, list[str]]:
    """``require_strangers`` for the people that a docket names; ``meta`` is a translator's or a judge's."""
    dataset = open_dataset(docket.data)
    return require_strangers(dataset, known_rows(dataset, docket.split, docket.people), meta)


def _opened(uri: str) -> tuple[Dataset | None, str]:
    if not uri:
        return None, "the model does not say where it is"
    try:
        return open_dataset(uri), ""
    except InputError as error:
        return None, f"it cannot be read ({error})"


def _trained_rows(training: Dataset, meta: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """Positions of the rows that the model was trained on: of people, or of expressions."""
    recipe = from_json(meta["recipe"])
    data, column = recipe.data, "identity" if recipe.method.plan == "identities" else "expression"
    used = pc.and_(pc.equal(training.index["split"], "train"), pc.is_valid(training.index[column]))
    used = pc.and_(used, seen_rows(training.index, data.folds, data.fold))
    return np.flatnonzero(used.to_numpy(zero_copy_only=False)).astype(np.int64)


def _comparable(dataset: Dataset, training: Dataset, meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The sources of both whose identities can be compared by name."""
    sources = _naming(dataset) & _naming(training)
    if _origins(dataset.manifest) & (_origins(training.manifest) | {str(meta.get("data_hash", ""))}):
        return tuple(sorted(sources))
    return tuple(sorted(sources & set(_NAMED)))


def _naming(dataset: Dataset) -> set[str]:
    """The sources that name anybody."""
    named = dataset.index["source"].filter(pc.is_valid(dataset.index["identity"]))
    return {str(source) for source in named.unique().to_pylist()}


def _origins(manifest: Manifest) -> set[str]:
    """What a data set is or was made from: its own hash, that of the set that it was refined from, a path."""
    told = (manifest.content_hash, manifest.source.get("content_hash"), manifest.source.get("path"))
    return {str(each) for each in told if each}


def _refuse_people(
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    training: Dataset,
    trained: npt.NDArray[np.int64],
    sources: tuple[str, ...],
) -> None:
    shared = sorted(_people(dataset, rows, sources) & _people(training, trained, sources))
    if shared:
        raise InputError(
            f"{len(shared)} of the people to evaluate are in the train split of {training.uri}, which the model was "
            f"trained on, the first is {shared[0][1]!r}: choose other --splits, or a data set of other people"
        )


def _refuse_images(
    dataset: Dataset, rows: npt.NDArray[np.int64], training: Dataset, trained: npt.NDArray[np.int64]
) -> None:
    mine = dataset.index["content_hash"].take(rows)
    known = pc.is_in(mine, value_set=pa.array(training.index["content_hash"].take(trained).to_pylist(), pa.string()))
    shared = np.flatnonzero(known.to_numpy(zero_copy_only=False))
    if len(shared):
        first = dataset.index["key"][int(rows[shared[0]])].as_py()
        raise InputError(
            f"{len(shared)} of the images to evaluate are in the train split of {training.uri}, which the model was "
            f"trained on, the first is {first!r}: choose other --splits, a data set of other images, or leave copies "
            "out when both are ingested (--duplicates drop)"
        )


def _people(dataset: Dataset, rows: npt.NDArray[np.int64], sources: tuple[str, ...]) -> set[tuple[str, str]]:
    index = dataset.index.select(["source", "identity"]).take(rows)
    pairs = zip(index["source"].to_pylist(), index["identity"].to_pylist(), strict=True)
    return {(source, person) for source, person in pairs if source in sources and person is not None}


def _own_train(dataset: Dataset, rows: npt.NDArray[np.int64]) -> list[str]:
    """A warning where people are in the train split of their own set, which the model may or may not have seen."""
    index = dataset.index
    trained = set(index["identity"].filter(pc.equal(index["split"], "train")).to_pylist()) - {None}
    mine = set(index["identity"].take(rows).to_pylist()) - {None}
    shared = len(mine & trained)
    return [f"{shared} of the {len(mine)} people are in the train split of {dataset.uri} too"] if shared else []


def _told(training: Dataset, meta: Mapping[str, Any], sources: tuple[str, ...]) -> str:
    what = "nobody and no image" if sources else "no image"
    told = f"{what} is among those of the train split of {training.uri}, which the model was trained on"
    if training.manifest.content_hash != meta.get("data_hash"):
        told += " (what is there now: its content hash is another one than at the training)"
    return told
