"""Translations of the rows of a data set, as the units of another one.

A unit is one row group of the source: its rows are a function of it, the model and the request alone, whatever
process makes them. Images are translated one at a time on one thread, as ``translate_image`` asks for: the sums of a
convolution depend on its batch and its threads in the last bits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from stargan_ray.data import storage
from stargan_ray.data.decode import UndecodableError
from stargan_ray.data.schema import ROW_GROUP, Row, Skipped
from stargan_ray.data.shards import Dataset
from stargan_ray.errors import InputError
from stargan_ray.runtime.models import LoadedModel, load_model
from stargan_ray.runtime.translate import closest_label, draw_latent, read_image, to_png, translate_image

SOURCE = "translated"  # of every row


@dataclass(frozen=True)
class Recipe:
    """How every image is translated, the same for all units.

    Attributes:
        model: what is loaded in each process, resolved.
        model_hash: that it must have.
        device: where it computes, e.g. ``cpu`` or ``cuda``.
        domains: of the model: the labels of the result.
        targets: of them, those that are asked for.
        own: whether an image is also translated to the expression that it shows.
        seed: of the drawn styles.
        intensity: 0 = the image's own expression, 1 = the full target.
    """

    model: str
    model_hash: str
    device: str
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    own: bool
    seed: int
    intensity: float

    def described(self) -> dict[str, object]:
        """What the pixels depend on, for the manifest and for the fingerprints; the model by its hash, wherever it is.

        The kind of device is among it: a GPU's sums differ in the last bits.
        """
        told = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        told["device"] = self.device.partition(":")[0]
        return {name: value for name, value in told.items() if name not in ("model", "domains")}

    def load(self) -> LoadedModel:
        """The model, once in a process.

        Raises:
            InputError: it is not there, or no longer the one that was asked for.
        """
        return _load(self.model, self.model_hash, self.device)


@functools.lru_cache(maxsize=1)
def _load(where: str, content_hash: str, device: str) -> LoadedModel:
    model = load_model(where, device)
    if model.content_hash != content_hash:
        raise InputError(f"{where} has changed since the job began: start it again")
    return model


def translated_key(key: str, target: str) -> str:
    """The key of a translation: ``<key of the source>/<target>``, split again at its last slash."""
    return f"{key}/{target.replace('%', '%25').replace('/', '%2F')}"


@dataclass(frozen=True)
class TranslatedRows:
    """One row group of a shard of the source, translated."""

    number: int
    shard: str  # URI of the source's Parquet file
    shard_hash: str  # content hash of its rows
    group: int  # of the file
    rows: tuple[int, ...]  # positions in the group, ascending
    labels: tuple[str, ...]  # the source's domains
    recipe: Recipe

    @property
    def fingerprint(self) -> str:
        """Of what is translated and how."""
        told = [self.shard_hash, self.group, self.rows, self.labels, self.recipe.domains, self.recipe.described()]
        return hashlib.sha256(json.dumps(["translate", *told]).encode()).hexdigest()

    def produce(self) -> Iterator[Row | Skipped]:
        """Every image to every target, in the order of the source; one that is no image is skipped once."""
        model = self.recipe.load()
        try:
            table = pq.ParquetFile(storage.open_input(self.shard)).read_row_group(self.group)
        except (pa.ArrowInvalid, OSError) as error:
            raise storage.failure("read", self.shard, error) from error
        with _one_thread():
            for row in table.take(pa.array(self.rows, pa.int64())).to_pylist():
                own = None if row["expression"] is None else self.labels[row["expression"]]
                try:
                    for target, image in self._translate(model, row["key"], row["image"], own):
                        key, label = translated_key(row["key"], target), self.recipe.domains.index(target)
                        # Without the source's weight: that says how far the source's label is to be trusted.
                        yield Row(key, image, label, row["identity"], row["split"], SOURCE)
                except UndecodableError as error:
                    yield Skipped(row["key"], error.reason)

    def _translate(self, model: LoadedModel, key: str, data: bytes, own: str | None) -> Iterator[tuple[str, bytes]]:
        """(target, PNG) of one image; its style is drawn as ``jobs/translate.py`` draws it for the image alone."""
        recipe = self.recipe
        image = read_image(data, model.size).to(recipe.device)
        latent = draw_latent(model, recipe.seed, key)
        label = None
        if recipe.intensity < 1:
            label = recipe.domains.index(own) if own in recipe.domains else closest_label(model, image)
        for target in recipe.targets:
            if target == own and not recipe.own:
                continue
            number = recipe.domains.index(target)
            result = translate_image(
                model, image, number, latent=latent, intensity=recipe.intensity, source_label=label
            )
            yield target, to_png(result[0])


def units_of(dataset: Dataset, recipe: Recipe) -> Iterator[TranslatedRows]:
    """The row groups that hold rows of the data set, in the order of its shards."""
    shards, places = dataset.index["shard"].to_numpy(), dataset.index["row"].to_numpy()
    numbers = iter(range(len(dataset)))
    for shard, described in enumerate(dataset.manifest.shards):
        rows = np.sort(places[shards == shard])
        for group in np.unique(rows // ROW_GROUP):
            yield TranslatedRows(
                next(numbers),
                storage.join(dataset.uri, described.path),
                described.hash,
                int(group),
                tuple((rows[rows // ROW_GROUP == group] % ROW_GROUP).tolist()),
                tuple(dataset.manifest.domains),
                recipe,
            )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the number of cores; processes are how more of them are used."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
