"""Batches from decoded windows: each image decoded once, two windows in memory, any start, errors passed on.

pytest tests/data/test_stream.py
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from stargan_ray.data import pools
from stargan_ray.data.decode import decode
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.plan import Shape
from stargan_ray.data.plan_domains import DomainPlan
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.shards import Dataset, open_dataset
from stargan_ray.data.stream import Batches, ThreadSource
from stargan_ray.data.writing import write_dataset
from stargan_ray.errors import InputError

SHAPE = Shape(batch=4, lanes=2, window=8)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    uri = str(tmp_path_factory.mktemp("faces"))
    write_dataset(uri, read_faces(FacesConfig(people=6, images_per_person=8, size=32, splits=(1, 0, 0))))
    return open_dataset(uri)


def plan_of(dataset: Dataset) -> DomainPlan:
    rows = np.arange(len(dataset), dtype=np.int64)
    labels = dataset.index["expression"].to_numpy().astype(np.int64) % 2
    return DomainPlan(rows, labels, ["even", "odd"], rows // 10, SHAPE, 0)


def batches_of(dataset: Dataset, lanes: range = range(2)) -> Batches:
    plan = plan_of(dataset)
    return Batches(ThreadSource(dataset, plan, lanes, 32), plan, lanes, CPU)


def steps(dataset: Dataset, start: int, stop: int, lanes: range = range(2)) -> list[dict[str, Tensor]]:
    return list(batches_of(dataset, lanes).steps(start, stop))


def same(first: list[dict[str, Tensor]], second: list[dict[str, Tensor]]) -> bool:
    return len(first) == len(second) and all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in zip(first, second, strict=True)
    )


def test_a_batch_holds_the_images_and_labels_of_the_plan(dataset: Dataset) -> None:
    plan = plan_of(dataset)
    for step, batch in enumerate(steps(dataset, 0, 16)):
        chunks = [plan.chunk(lane, step // SHAPE.window) for lane in range(2)]
        at = step % SHAPE.window
        for role in ("source", "reference", "reference2"):
            rows = np.concatenate([c.rows[c.images[role][at]] for c in chunks])
            expected = np.stack([decode(data, 32) for data in dataset.images(rows)])
            assert batch[role].dtype == torch.uint8
            assert np.array_equal(batch[role].numpy(), expected)
        for name in ("source_label", "target_label"):
            assert batch[name].tolist() == [k for c in chunks for k in c.labels[name][at]]


def test_each_image_is_decoded_once_a_window(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    monkeypatch.setattr(pools, "decode", lambda data, *more: decoded.append(data) or decode(data, *more))
    used = 0
    for batch in steps(dataset, 0, 3 * SHAPE.window):
        used += sum(batch[role].shape[0] for role in ("source", "reference", "reference2"))
    plan = plan_of(dataset)
    chunks = [plan.chunk(lane, window) for lane in range(2) for window in range(3)]
    assert Counter(decoded) == Counter(data for c in chunks for data in dataset.images(c.rows))
    assert len(decoded) <= used / 3


@pytest.mark.parametrize("start", [0, 3, 8, 13, 23])
def test_a_start_anywhere_continues_the_full_run(dataset: Dataset, start: int) -> None:
    assert same(steps(dataset, start, 24), steps(dataset, 0, 24)[start:])


def test_no_steps_read_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "load_pool", pytest.fail)
    assert steps(dataset, 5, 5) == []


def test_workers_batches_side_by_side_are_the_global_batch(dataset: Dataset) -> None:
    whole = steps(dataset, 2, 20)
    parts = [steps(dataset, 2, 20, SHAPE.lanes_of(rank, 2)) for rank in range(2)]
    joined = [{name: torch.cat([a[name], b[name]]) for name in a} for a, b in zip(*parts, strict=True)]
    assert same(joined, whole)


class _Ticket:
    """Counts the pools that are alive, and how many ever were at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.alive = self.most = self.made = 0
        self.begun: dict[int, threading.Event] = {n: threading.Event() for n in range(20)}

    def load(self, dataset: Dataset, rows: npt.NDArray[np.int64], size: int, **_: object) -> npt.NDArray[np.uint8]:
        pool = np.zeros((len(rows), 3, size, size), np.uint8)
        with self.lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
            self.begun[self.made].set()
            self.made += 1
        weakref.finalize(pool, self.gone)
        return pool

    def gone(self) -> None:
        with self.lock:
            self.alive -= 1


def test_at_most_two_windows_are_in_memory(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = _Ticket()
    monkeypatch.setattr(pools, "load_pool", ticket.load)
    one_lane = range(1)
    source = ThreadSource(dataset, plan_of(dataset), one_lane, 32)
    for taken, window in enumerate(source.windows(0, 6), 1):
        assert len(window.chunks) == 1
        if taken < 6:
            assert ticket.begun[taken].wait(30)  # the next one is read ahead …
        assert ticket.made <= taken + 1  # … and no other, however long this one is used
        del window
    assert ticket.most == 2


@pytest.mark.parametrize("keep_bytes", [0, 1 << 30], ids=["decoded anew", "kept"])
def test_windows_share_the_memory_of_two(dataset: Dataset, keep_bytes: int) -> None:
    """What is taken of the system once serves all windows, since each new page of it costs time."""
    places = set()
    for window in ThreadSource(dataset, plan_of(dataset), range(1), 32, keep_bytes).windows(0, 12):
        places.add(window.pool.__array_interface__["data"][0])
        del window
    assert len(places) <= 2


def test_the_window_in_use_is_held_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of this memory copies nothing: what is alive is the window in use and what is read ahead."""
    ticket = _Ticket()
    monkeypatch.setattr(pools, "load_pool", ticket.load)
    for step, _ in enumerate(batches_of(dataset, range(1)).steps(0, 4 * SHAPE.window)):
        window = step // SHAPE.window
        if window < 3:
            assert ticket.begun[window + 1].wait(30)
        assert ticket.alive <= 2
    assert ticket.most <= 2


def test_an_error_in_the_thread_reaches_the_consumer(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_later(dataset: Dataset, rows: npt.NDArray[np.int64], size: int, **_: object) -> Any:
        calls.append(len(rows))
        if len(calls) > 2:  # windows
            raise OSError("the disk went away")
        return original(dataset, rows, size)

    calls: list[int] = []
    original = pools.load_pool
    monkeypatch.setattr(pools, "load_pool", fail_later)
    got: list[dict[str, Tensor]] = []
    with pytest.raises(OSError, match="the disk went away"):
        got.extend(batch for batch in batches_of(dataset).steps(0, 40))
    assert len(calls) == 3
    assert not got or len(got) == 2 * SHAPE.window


def test_a_consumer_that_leaves_ends_the_thread(dataset: Dataset) -> None:
    def decoders() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name == "decode" and t not in before]

    before = threading.enumerate()
    running: Iterator[dict[str, Tensor]] = batches_of(dataset).steps(0, 400)
    next(running)
    (thread,) = decoders()
    del running
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_an_image_that_broke_after_ingest_is_named(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "images", lambda rows: [b"no image"] * len(rows))
    with pytest.raises(InputError, match=r"image '.+' could be decoded at ingest and cannot now") as caught:
        steps(dataset, 0, 1)
    assert "\n" not in str(caught.value)
