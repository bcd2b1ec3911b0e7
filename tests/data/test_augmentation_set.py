"""Translated images as training data: where each comes from, what may be trained on, and sets that do not fit.

pytest tests/data/test_augmentation_set.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from planted import encoded, noise
from translated import request_all, write_translated

from stargan_ray.data.augmentation_set import open_augmentation_set
from stargan_ray.data.faces import EXPRESSIONS
from stargan_ray.data.readers.studio import read_studio
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.studio import StudioConfig
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("studio"))
    write_dataset(uri, read_studio(StudioConfig(people=4, sessions=1, size=32)))
    return open_dataset(uri)


def picture(source: int, target: str) -> bytes:
    return encoded(noise(source * 10 + EXPRESSIONS.index(target), size=(32, 32)))


def test_every_image_knows_its_source_and_target(studio: Dataset, tmp_path: Path) -> None:
    requests = request_all(studio, ("anger", "neutral"))
    # a translator of eight expressions: other numbers for the same names
    domains = EXPRESSIONS[::-1]
    found = open_augmentation_set(
        write_translated(str(tmp_path), studio, requests, picture, domains=domains), studio, 32
    )
    keys = found.dataset.index["key"].to_pylist()
    for row, key in enumerate(keys):
        source, target = (
            studio.index["key"][int(found.origins[row, 0])].as_py(),
            studio.manifest.domains[found.labels[row]],
        )
        assert key.startswith(f"{source}-to-{target}-")
    assert len(keys) == 2 * 28


def test_a_row_is_allowed_where_its_source_is_seen(studio: Dataset, tmp_path: Path) -> None:
    found = open_augmentation_set(
        write_translated(str(tmp_path), studio, request_all(studio, ("fear",)), picture), studio, 32
    )
    seen = np.zeros(len(studio), np.bool_)
    seen[[3, 5, 20]] = True
    assert sorted(found.origins[found.allowed(seen), 0]) == [3, 5, 20]


def test_a_reference_must_be_seen_too(studio: Dataset, tmp_path: Path) -> None:
    uri = write_translated(str(tmp_path), studio, [(3, "fear"), (5, "fear")], picture, references=[9, 10])
    seen = np.zeros(len(studio), np.bool_)
    seen[[3, 5, 9]] = True
    found = open_augmentation_set(uri, studio, 32)
    assert found.origins[found.allowed(seen)].tolist() == [[3, 9]]


def test_targets_that_the_original_lacks_are_never_trained_on(studio: Dataset, tmp_path: Path) -> None:
    uri = write_translated(
        str(tmp_path / "some"), studio, request_all(studio, ("contempt", "fear")), picture, domains=EXPRESSIONS
    )
    found = open_augmentation_set(uri, studio, 32)
    rows = found.allowed(np.ones(len(studio), np.bool_))
    assert len(found.dataset) == 2 * len(rows) == 56
    assert {studio.manifest.domains[label] for label in found.labels[rows]} == {"fear"}
    only = write_translated(
        str(tmp_path / "none"), studio, request_all(studio, ("contempt",)), picture, domains=EXPRESSIONS
    )
    with pytest.raises(InputError, match=r"unknown target of .* 'contempt'"):
        open_augmentation_set(only, studio, 32)


def test_sets_that_do_not_fit_are_refused_in_one_line(studio: Dataset, tmp_path: Path) -> None:
    requests = [(3, "fear"), (5, "anger")]

    def refused(match: str, size: int = 32) -> None:
        with pytest.raises(InputError, match=match) as caught:
            open_augmentation_set(str(tmp_path / "set"), studio, size)
        assert "\n" not in str(caught.value)

    def write(**changed: object) -> None:
        write_dataset_anew = str(tmp_path / "set")
        for file in sorted(Path(write_dataset_anew).rglob("*.*")):
            file.unlink()
        told = {"image": picture, **changed}
        write_translated(write_dataset_anew, studio, requests, **told)  # type: ignore[arg-type]

    write(sources=[studio.index["key"][3].as_py(), "elsewhere-7"])
    refused("1 of 2 images come from other data than .*, the first from 'elsewhere-7'")
    write(identity="somebody")
    refused("2 images have another identity than their source")
    write(image=lambda s, t: encoded(Image.new("RGB", (16, 16), (s, 0, len(t)))))
    refused("sizes differ: .* has images of 16 pixels, .* of 32; allowed are 32 and more at data.size = 64", 64)
    write()
    lineage = tmp_path / "set" / "lineage.parquet"
    table = pq.read_table(lineage)
    pq.write_table(table.drop_columns("target"), lineage)
    refused("lacks the column 'target'")
    pq.write_table(table[::-1], lineage)
    refused("does not name the rows of its index in their order")
    place = table.column_names.index("source_hash")
    pq.write_table(table.set_column(place, "source_hash", [["0" * 64] * 2]), lineage)
    refused("2 of 2 images come from other data than .* the same keys and are other images")
    pq.write_table(table.set_column(2, "target", [["anger", "anger"]]), lineage)
    refused("differ from the targets in lineage.parquet")
    lineage.write_bytes(b"PAR1 and no more")
    refused("lineage.parquet is damaged")
    lineage.unlink()
    refused("has no lineage.parquet")
