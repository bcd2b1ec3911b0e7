"""Evaluate an identity embedder on a data set with identities and write what was found for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from rich.table import Table

from stargan_ray.data import storage
from stargan_ray.data.readers.lfw import image_of, read_pairs
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.errors import InputError
from stargan_ray.evaluation.calibration import Calibration, calibration_of, fit_calibration
from stargan_ray.evaluation.embedder_page import AREAS, SHARES, charts, render
from stargan_ray.evaluation.identity import pair_distances
from stargan_ray.evaluation.known import shown_expressions
from stargan_ray.evaluation.pairs import Pairs, sample_pairs
from stargan_ray.evaluation.report import at, split_estimates
from stargan_ray.evaluation.triplet_batches import RECIPE_THRESHOLD
from stargan_ray.evaluation.verification import PROTOCOL, Album, EmbedderScores, judge_embedder, judge_pairs
from stargan_ray.runtime.defaults import BLOCK
from stargan_ray.runtime.evaluate import wanted_splits
from stargan_ray.runtime.models import LoadedModel
from stargan_ray.runtime.score_store import Blocks, score_dataset
from stargan_ray.runtime.scoring import Scorer, embedder_scorer
from stargan_ray.runtime.strangers import require_strangers

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Rows:
    """What is embedded: the rows of each split, the pairs of a file, and why other rows are not."""

    by_split: dict[str, Ints]
    pairs: Pairs | None  # indices are positions in the data set's index
    pairs_given: int
    left_out: dict[str, int]

    @property
    def every(self) -> Ints:
        """All positions, sorted, each once."""
        asked = () if self.pairs is None else (self.pairs.first, self.pairs.second)
        return np.unique(np.concatenate([*self.by_split.values(), *asked]))


@dataclass(frozen=True)
class _Gallery:
    """What the embedder and the labels say of every row of the index; rows that were not asked for say nothing."""

    vectors: npt.NDArray[np.float32]
    identities: npt.NDArray[np.str_]
    expressions: Ints  # -1 where it is not known
    told_by: str | None  # who tells them

    @property
    def readable(self) -> Flags:
        """A row is NaN as a whole or not at all."""
        return ~np.isnan(self.vectors[:, 0])

    def album(self, positions: Ints) -> Album:
        """Of some rows."""
        return Album(self.vectors[positions], self.identities[positions], self.expressions[positions])


def evaluate_embedder(
    data: str,
    out: str,
    model: LoadedModel,
    *,
    splits: Sequence[str] = (),
    pairs: str = "",
    recipe_threshold: float = RECIPE_THRESHOLD,
    parallel: int = 1,
    block: int = BLOCK,
    on_scored: Callable[[int, int], None] = lambda _new, _of: None,
) -> dict[str, Any]:
    """Embed the rows of some splits and judge each; what was embedded by a killed run is not embedded again.

    Args:
        data: URI of an ingested data set with identities.
        out: URI of a folder for evaluation.json and evaluation.html.
        model: the embedder; any kind whose network ``embedder`` gives unit vectors.
        splits: those to judge; none = all but train.
        pairs: a file of pairs of LFW, judged besides, wherever their images are in the data set; empty = none.
        recipe_threshold: fixed threshold of the paper's figure, squared L2.
        parallel: processes that embed.
        block: rows that are embedded and stored together.
        on_scored: told of (new rows, all rows), for progress.

    Returns:
        The content of evaluation.json.

    Raises:
        InputError: a split is not there, no row has an identity, the model was trained on somebody of the evaluated
            people, no split has the people for a figure, or something cannot be read or written.
    """
    dataset, out = open_dataset(data), storage.absolute(out)
    scorer = embedder_scorer(model)
    rows = _rows(dataset, wanted_splits(dataset, splits), pairs)
    people = require_strangers(dataset, rows.every, model.meta)
    storage.check_writable(out)
    blocks = Blocks(dataset, scorer, storage.join(out, "embeddings"), block, rows.every)
    gallery = _gallery(dataset, rows, score_dataset(blocks, parallel, lambda new: on_scored(new, len(blocks))))
    albums = {split: gallery.album(found[gallery.readable[found]]) for split, found in rows.by_split.items()}
    calibration, fitted_on = _calibration(model, albums)
    judged, not_judged = _judged(albums, calibration, fitted_on, recipe_threshold)
    if not judged and rows.pairs is None:
        raise _nothing_judged(dataset, not_judged)
    results = {
        **_who_on_what(dataset, scorer, model),
        "threshold": None if calibration is None else {**vars(calibration), "from": fitted_on},
        "recipe_threshold": recipe_threshold,
        "people": people,
        "expressions_from": gallery.told_by,
        "left_out": _left_out(rows, gallery.readable),
        "not_judged": not_judged,
        "pairs": None if rows.pairs is None else _file_section(rows, gallery, calibration, pairs),
        "splits": {split: scores.section for split, scores in judged.items()},
    }
    report = _write(out, results, judged)
    storage.delete(storage.join(out, "embeddings"))
    return report


def _left_out(rows: _Rows, readable: Flags) -> dict[str, int]:
    """Why rows are not judged, and how many of each reason."""
    unreadable = int((~readable[rows.every]).sum())
    return rows.left_out | ({"unreadable": unreadable} if unreadable else {})


def _nothing_judged(dataset: Dataset, why: Mapping[str, str]) -> InputError:
    reasons = "; ".join(f"{split}: {reason}" for split, reason in why.items())
    return InputError(f"{dataset.uri}: no split can be judged: {reasons}")


def _who_on_what(dataset: Dataset, scorer: Scorer, model: LoadedModel) -> dict[str, Any]:
    """What the report says of the data and of the embedder."""
    return {
        "data": {"uri": dataset.uri, "content_hash": dataset.manifest.content_hash},
        "embedder": {
            "name": scorer.name,
            "kind": model.kind,
            "size": model.size,
            "dimensions": len(scorer.classes),
            "data_hash": model.meta["data_hash"],
        },
    }


def _write(out: str, results: dict[str, Any], judged: dict[str, EmbedderScores]) -> dict[str, Any]:
    """Write the page, then the figures, which a program may take as the sign that all is there."""
    plain, intervals = split_estimates(results)
    report = {**plain, "intervals": intervals}
    storage.write_bytes(storage.join(out, "evaluation.html"), render(report, charts(judged, report)).encode())
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    storage.write_bytes(storage.join(out, "evaluation.json"), text.encode() + b"\n")
    return report


def _rows(dataset: Dataset, splits: Sequence[str], pairs: str) -> _Rows:
    """The rows of the splits that have an identity, each image once, and those of a file of pairs."""
    index = dataset.index
    split_of = np.asarray(index["split"].to_pylist())
    named = pc.is_valid(index["identity"]).to_numpy(zero_copy_only=False)
    hashes = np.asarray(index["content_hash"].to_pylist())
    counts = {"no identity": 0, "copy of another image of its split": 0}
    found: dict[str, Ints] = {}
    for split in splits:
        of_split = split_of == split
        rows = np.flatnonzero(of_split & named)
        # a copy of an image lies at distance 0 from it and would be counted as a person known again
        _, first = np.unique(hashes[rows], return_index=True)
        counts["no identity"] += int((of_split & ~named).sum())
        counts["copy of another image of its split"] += len(rows) - len(first)
        if len(first):
            found[split] = rows[np.sort(first)]
    if not found and not pairs:
        raise InputError(
            f"{dataset.uri}: no row of {', '.join(splits)} has an identity: an embedder is judged by people"
        )
    asked, given = _pairs_of(dataset, pairs) if pairs else (None, 0)
    return _Rows(found, asked, given, {why: n for why, n in counts.items() if n})


def _pairs_of(dataset: Dataset, path: str) -> tuple[Pairs, int]:
    """The pairs of a file both of whose images are there, and how many the file has."""
    named = read_pairs(path)
    keys = dataset.index["key"].to_pylist()
    people = dataset.index["identity"].to_pylist()
    places = {image_of(key): place for place, key in enumerate(keys) if people[place] is not None}
    there = [pair for pair in named if pair.first in places and pair.second in places]
    if not there:
        raise InputError(
            f"{path}: none of its {len(named)} pairs has both images in {dataset.uri}, whose keys must end in "
            "<Name_Surname>_0001.jpg"
        )
    first, second = (np.array([places[getattr(pair, which)] for pair in there]) for which in ("first", "second"))
    same, fold = np.array([pair.same for pair in there]), np.array([pair.fold for pair in there])
    return Pairs(first, second, same, fold), len(named)


def _gallery(dataset: Dataset, rows: _Rows, vectors: npt.NDArray[np.float32]) -> _Gallery:
    """The embeddings beside what is known of their rows."""
    shown = np.full(len(dataset), -1, dtype=np.int64)
    shown[rows.every], told_by = shown_expressions(dataset, rows.every)
    identities = np.array([str(person) for person in dataset.index["identity"].to_pylist()])
    return _Gallery(vectors, identities, shown, told_by)


def _calibration(model: LoadedModel, albums: dict[str, Album]) -> tuple[Calibration | None, str]:
    """The model's own, else one that is fitted on val here, which then cannot judge val."""
    if (own := calibration_of(model.meta)) is not None:
        return own, "the model's metadata"
    if "val" in albums:
        try:
            pairs = sample_pairs(albums["val"].persons, PROTOCOL)
        except InputError:
            return None, ""
        return fit_calibration(pair_distances(albums["val"].embeddings, pairs), pairs.same), "val"
    return None, ""


def _judged(
    albums: dict[str, Album], calibration: Calibration | None, fitted_on: str, recipe_threshold: float
) -> tuple[dict[str, EmbedderScores], dict[str, str]]:
    """The scores of every split, or why it has none."""
    judged, not_judged = {}, {}
    for split, album in albums.items():
        try:
            judged[split] = judge_embedder(album, None if split == fitted_on else calibration, recipe_threshold)
        except InputError as error:
            not_judged[split] = str(error)
    return judged, not_judged


def _file_section(
    rows: _Rows,
    gallery: _Gallery,
    calibration: Calibration | None,
    path: str,
) -> dict[str, Any]:
    """The pairs of a file, of those whose images can be read."""
    asked = rows.pairs
    assert asked is not None
    usable = gallery.readable[asked.first] & gallery.readable[asked.second]
    positions, places = np.unique(np.concatenate([asked.first[usable], asked.second[usable]]), return_inverse=True)
    first, second = np.split(places, 2)
    section = judge_pairs(
        gallery.album(positions), Pairs(first, second, asked.same[usable], asked.fold[usable]), calibration
    )
    return {"file": path, "given": rows.pairs_given, **section}


def table(report: dict[str, Any]) -> Table:
    """The figures, a split a column, as a table to print."""
    splits = report["splits"]
    shown = Table("", *splits)
    for name in ("rows", "people", "people_with_one_image"):
        shown.add_row(name.replace("_", " "), *(str(split[name]) for split in splits.values()))
    for figures, form in ((SHARES, "{:.2%}"), (AREAS, "{:.4f}")):
        for name, path in figures.items():
            shown.add_row(name, *(_cell(report, split, path, form) for split in splits))
    errors = (split["calibration"] and f"{split['calibration']['error']:.3f}" for split in splits.values())
    shown.add_row("calibration error", *(error or "–" for error in errors))
    return shown


def _cell(report: dict[str, Any], split: str, path: str, form: str) -> str:
    value = at(report["splits"][split], path)
    if value is None:
        return "–"
    ends = at(report["intervals"]["splits"][split], path)
    return f"{form.format(value)} ({form.format(ends['low'])} to {form.format(ends['high'])})"
