"""What Ray Data is asked for: every window once and in order, the same images as without it, few bytes at once.

pytest tests/data/test_pipeline.py      (trainings on Ray itself: tests/runtime/test_train_job.py)
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.pipeline import RaySource
from stargan_ray.data.plan import Shape
from stargan_ray.data.plan_domains import DomainPlan
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import ThreadSource
from stargan_ray.data.writing import write_dataset

SIZE = 32


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("faces"))
    write_dataset(uri, read_faces(FacesConfig(people=6, images_per_person=8, size=SIZE, splits=(1, 0, 0))))
    return open_dataset(uri)


@pytest.fixture
def plan(dataset: Dataset) -> DomainPlan:
    rows = np.arange(len(dataset), dtype=np.int64)
    return DomainPlan(rows, rows % 2, ["even", "odd"], rows // 10, Shape(batch=4, lanes=2, window=8), 0)


def source_of(dataset: Dataset, plan: DomainPlan, **more: Any) -> RaySource:
    return RaySource(dataset, plan, range(2), SIZE, cache_bytes=1 << 20, **more)


@pytest.mark.parametrize("bounds", [(0, 0), (0, 1), (0, 100), (7, 40), (5, 21)])
def test_every_window_is_decoded_once_and_the_first_is_waited_for_alone(
    dataset: Dataset, plan: DomainPlan, bounds: tuple[int, int]
) -> None:
    segments = source_of(dataset, plan).segments(*bounds, room=1 << 40)
    assert [window for segment in segments for window in segment] == list(range(*bounds))
    lengths = [len(segment) for segment in segments]
    assert lengths[:1] == [1][: len(lengths)]
    assert all(later <= 2 * earlier for earlier, later in itertools.pairwise(lengths))
    assert max(lengths, default=1) <= 64


def test_large_windows_come_alone(dataset: Dataset, plan: DomainPlan) -> None:
    window = len(next(ThreadSource(dataset, plan, range(2), SIZE).windows(0, 1)).pool) * 3 * SIZE**2
    for room, most in ((window - 1, 1), (window, 1), (5 * window, 5)):
        assert max(map(len, source_of(dataset, plan).segments(0, 50, room))) == most


@pytest.mark.parametrize(
    ("lanes", "store", "room"), [(2, 8 << 30, 1 << 30), (2, 2 << 30, 512 << 20), (1, 2 << 30, 256 << 20)]
)
def test_workers_leave_half_of_the_object_store(
    dataset: Dataset, plan: DomainPlan, lanes: int, store: int, room: int
) -> None:
    """Two segments of each worker lie in it; the plan has two lanes, so that a worker with one is one of two."""
    source = RaySource(dataset, plan, range(lanes), SIZE, cache_bytes=1 << 20)
    assert source._share(store) == room


def test_a_task_makes_the_window_that_a_thread_makes(dataset: Dataset, plan: DomainPlan) -> None:
    source = source_of(dataset, plan)
    windows = list(ThreadSource(dataset, plan, range(2), SIZE).windows(3, 7))
    load = source.loader([window.chunks for window in windows])
    for number, window in enumerate(windows):
        table = load({"id": np.array([number])})
        assert table["id"].to_pylist() == [number]
        pixels = np.frombuffer(table["pixels"][0].as_buffer(), np.uint8).reshape(-1, 3, SIZE, SIZE)
        assert np.array_equal(pixels, window.pool)
