"""Decoded images of some rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stargan_ray.data import pools
from stargan_ray.data.decode import UndecodableError
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.pools import load_pool
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("pools"))
    write_dataset(uri, read_faces(FacesConfig(people=3, images_per_person=8, size=32, splits=(1.0, 0.0, 0.0))))
    return open_dataset(uri)


def test_threads_decode_the_same_in_the_same_order(dataset: Dataset) -> None:
    rows = np.array([5, 0, 17, 5, 3, 23, 1])
    alone = load_pool(dataset, rows, 16)
    assert len({image.tobytes() for image in alone}) == 6  # one of them twice
    for threads in (2, 3, 9):
        assert np.array_equal(load_pool(dataset, rows, 16, threads), alone)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_image_that_cannot_be_decoded_is_named(
    dataset: Dataset, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = dataset.images(np.array([7]))[0]
    decode = pools.decode

    def refuse(data: bytes, *more: Any) -> object:
        if data == bad:
            raise UndecodableError("damaged")
        return decode(data, *more)

    monkeypatch.setattr(pools, "decode", refuse)
    key = dataset.index["key"][7].as_py()
    with pytest.raises(InputError, match=f"image '{key}' could be decoded at ingest"):
        load_pool(dataset, np.arange(24), 16, threads)
