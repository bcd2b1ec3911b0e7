"""Decoded images that are kept: the same batches, each image decoded once, and never more memory than is given.

pytest tests/data/test_pools.py
"""

from __future__ import annotations

import dataclasses
import pickle
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stargan_ray.data import pools
from stargan_ray.data.decode import decode
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.pipeline import RaySource
from stargan_ray.data.plan import Shape
from stargan_ray.data.plan_rows import RowPlan
from stargan_ray.data.pools import load_pool, pool_loader
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, ThreadSource
from stargan_ray.data.writing import write_dataset

SIZE = 32
SHAPE = Shape(batch=8, lanes=2, window=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("faces"))
    write_dataset(uri, read_faces(FacesConfig(people=5, images_per_person=8, size=SIZE, splits=(1, 0, 0))))
    return open_dataset(uri)


@dataclass
class Counted:
    """What was decoded, as bytes of the files."""

    files: Counter[bytes] = field(default_factory=Counter)

    def __call__(self, data: bytes, size: int) -> npt.NDArray[np.uint8]:
        self.files[data] += 1
        return decode(data, size)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(pools, "decode", counted)
    return counted


def enough(dataset: Dataset, rows: int) -> int:
    return dataset.manifest.image_bytes + rows * 3 * SIZE * SIZE


def plan_of(dataset: Dataset) -> RowPlan:
    rows = np.arange(3, len(dataset), dtype=np.int64)  # not all, and not from 0: positions and places differ
    return RowPlan(rows, np.zeros(len(rows), np.int64), np.arange(len(dataset)) // 10, SHAPE, 0)


def steps(dataset: Dataset, keep_bytes: int, stop: int) -> list[dict[str, torch.Tensor]]:
    plan = plan_of(dataset)
    source = ThreadSource(dataset, plan, range(2), SIZE, keep_bytes)
    return list(Batches(source, plan, range(2), torch.device("cpu")).steps(0, stop))


def test_batches_are_the_same_whether_images_are_kept_or_not(dataset: Dataset) -> None:
    kept = steps(dataset, enough(dataset, len(dataset)), 40)
    for one, other in zip(kept, steps(dataset, 0, 40), strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_each_kept_image_is_decoded_once_in_a_run(dataset: Dataset, decoded: Counted) -> None:
    steps(dataset, enough(dataset, len(plan_of(dataset).rows)), 40)  # 320 images of 37
    assert set(decoded.files.values()) == {1}
    assert len(decoded.files) == len(plan_of(dataset).rows)


def test_nothing_is_kept_where_encoded_and_decoded_images_do_not_fit_together(
    dataset: Dataset, decoded: Counted
) -> None:
    load = pool_loader(dataset, np.arange(len(dataset)), SIZE, enough(dataset, len(dataset)) - 1)
    for _ in range(3):
        load(np.arange(4))
    assert set(decoded.files.values()) == {3}


def test_rows_may_be_asked_for_in_any_order_and_twice_at_once(dataset: Dataset, decoded: Counted) -> None:
    rows = np.array([9, 4, 30, 4, 7])
    load = pool_loader(dataset, rows[[2, 0, 4, 1]], SIZE, enough(dataset, 4))
    for asked in (rows[:2], rows, rows[::-1]):
        assert np.array_equal(load(asked), np.stack([decode(data, SIZE) for data in dataset.images(asked)]))
    assert set(decoded.files.values()) == {1}


def test_a_pool_is_the_callers_own(dataset: Dataset) -> None:
    load = pool_loader(dataset, np.arange(len(dataset)), SIZE, enough(dataset, len(dataset)))
    rows = np.array([5, 6])
    load(rows)[:] = 0
    assert np.array_equal(load(rows), load_pool(dataset, rows, SIZE))


@pytest.mark.parametrize("keeps", [True, False])
def test_tasks_of_one_process_share_what_is_kept(dataset: Dataset, decoded: Counted, keeps: bool) -> None:
    """Ray Data calls the loader of each window anew, as it was pickled; other runs have their own."""
    plan = plan_of(dataset)
    source = RaySource(dataset, plan, range(2), SIZE, enough(dataset, len(plan.rows)) - (not keeps))
    tables = [pickle.loads(pickle.dumps(source.loader(range(2, 9))))({"id": np.array([n])}) for n in range(7)]
    assert [table["window"][0].as_py() for table in tables] == list(range(2, 9))
    assert (max(decoded.files.values()) == 1) is keeps
    here = ThreadSource(dataset, plan, range(2), SIZE).windows(2, 9)
    for table, pool in zip(tables, here, strict=True):
        assert table["pixels"][0].as_buffer().to_pybytes() == np.concatenate(pool).tobytes()


def test_a_run_on_other_rows_of_the_same_data_keeps_its_own(dataset: Dataset) -> None:
    plan = plan_of(dataset)
    fewer = dataclasses.replace(plan, rows=plan.rows[8:], labels=plan.labels[8:])
    for each in (fewer, plan, fewer):
        source = RaySource(dataset, each, range(2), SIZE, enough(dataset, len(dataset)))  # as no other test here
        pixels = source.loader(range(0, 4))({"id": np.array([1])})["pixels"][0].as_buffer().to_pybytes()
        rows = np.concatenate([each.chunk(lane, 1).rows for lane in range(2)])
        assert pixels == load_pool(dataset, rows, SIZE).tobytes()
