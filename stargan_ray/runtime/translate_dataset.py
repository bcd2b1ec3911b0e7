"""Changing the expression in every image of a data set: the result is a data set too, with its lineage beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from stargan_ray.data import storage
from stargan_ray.data.manifest import Manifest
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.units import Source, Written, write_table
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.defaults import ALL
from stargan_ray.runtime.models import load_model
from stargan_ray.runtime.translate import require_domain, require_translator
from stargan_ray.runtime.translated_rows import Recipe, TranslatedRows, units_of
from stargan_ray.runtime.unit_pool import unit_pool

LINEAGE = "lineage.parquet"


@dataclass(frozen=True)
class Translated:
    """What was done.

    Attributes:
        manifest: of the new data set.
        lineage: URI of the table of its rows' origins.
    """

    manifest: Manifest
    lineage: str


def make_recipe(
    where: str, *, target: str = ALL, seed: int = 0, intensity: float = 1.0, own: bool = False, device: str = "cpu"
) -> Recipe:
    """How to translate by a model, checked.

    Args:
        where: what ``load_model`` takes; an alias is looked up now, once for all processes.
        target: an expression of the model, or ``all``.
        seed: of the drawn styles.
        intensity: 0 = the image's own expression, 1 = the full target.
        own: also to the expression that an image shows already.
        device: where to compute.

    Raises:
        InputError: there is no such model or target, it is no translator, or the intensity is outside [0, 1].
    """
    if not 0 <= intensity <= 1:
        raise InputError(f"intensity = {intensity}: allowed is 0 to 1")
    model = load_model(where, device)
    require_translator(model)
    if target != ALL:
        require_domain(model, "target", target, ALL)
    targets = model.domains if target == ALL else (target,)
    return Recipe(model.where, model.content_hash, device, model.domains, targets, own, seed, intensity)


def translate_dataset(
    data: str,
    out: str,
    recipe: Recipe,
    *,
    parallel: int = 1,
    overwrite: bool = False,
    on_written: Callable[[Written, int], None] = lambda _unit, _of: None,
) -> Translated:
    """Translate a data set; a run after a killed one goes on behind its last row group.

    Args:
        data: URI of the source.
        out: URI of the result, another one.
        recipe: how.
        parallel: processes; 1 is this one, more are actors of Ray. The result is the same, byte for byte.
        overwrite: replace another data set at ``out``.
        on_written: told of (unit, how many there are), for progress.

    Raises:
        InputError: the source is missing, ``out`` is the source or another data set, no row is usable, or the cluster
            is too small.
    """
    dataset = open_dataset(data)
    out = storage.absolute(out)
    if out == dataset.uri:
        raise InputError(f"--out {out} is the source itself: the translations go beside it")
    units = tuple(units_of(dataset, recipe))
    manifest = write_dataset(
        out,
        _source(dataset, recipe, units),
        map_tasks=unit_pool(parallel, recipe.load),
        overwrite=overwrite,
        on_written=lambda written: on_written(written, len(units)),
    )
    where = storage.join(out, LINEAGE)
    write_table(where, lineage_table(open_dataset(out), dataset, recipe))
    return Translated(manifest, where)


def _source(dataset: Dataset, recipe: Recipe, units: tuple[TranslatedRows, ...]) -> Source:
    told = recipe.described()
    description = {
        "reader": "translate",
        "data": dataset.uri,
        "content_hash": dataset.manifest.content_hash,
        **json.loads(json.dumps(told)),
    }
    return Source(description, recipe.domains, units)


def lineage_table(result: Dataset, source: Dataset, recipe: Recipe) -> pa.Table:
    """Where each row comes from, in the order of the result's index.

    Columns: key, source_key, source_hash (SHA-256 of the source's encoded image), target, seed, intensity, model,
    model_hash.
    """
    keys = result.index["key"].combine_chunks()
    # A key is its source's and the target behind the last slash.
    origin = pc.list_element(pc.split_pattern(keys, "/", max_splits=1, reverse=True), 0)
    place = pc.index_in(origin, value_set=source.index["key"].combine_chunks())
    count = len(keys)
    return pa.table(
        {
            "key": keys,
            "source_key": origin,
            "source_hash": source.index["content_hash"].combine_chunks().take(place),
            "target": pa.array(recipe.domains, pa.string()).take(result.index["expression"].combine_chunks()),
            "seed": pa.repeat(pa.scalar(recipe.seed, pa.int64()), count),
            "intensity": pa.repeat(pa.scalar(recipe.intensity, pa.float64()), count),
            "model": pa.repeat(pa.scalar(recipe.model, pa.string()), count),
            "model_hash": pa.repeat(pa.scalar(recipe.model_hash, pa.string()), count),
        }
    )
