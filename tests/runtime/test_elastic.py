"""An elastic run on a cluster that grows and shrinks while it trains, with real Ray nodes on this machine.

pytest tests/runtime/test_elastic.py -m slow
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stargan_ray.config import Recipe, ScaleConfig
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import launch
from stargan_ray.runtime.run import Run
from stargan_ray.training.checkpoint import read_meta
from stargan_ray.training.weights import load_tensors

pytestmark = pytest.mark.slow
LIMIT_S = 150.0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with room for one worker."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found
    ray.shutdown()
    found.shutdown()


def recipe_of(steps: int) -> Recipe:
    base = recipe_named("expression-tiny")
    train = replace(base.train, steps=steps, report_every=5, checkpoint_every=25, validate_every=0, sample_every=0)
    scale = ScaleConfig(num_workers=(1, 2), cpus_per_worker=0.5, cpus_per_reader=0.5, timeout_s=60)
    return replace(base, train=replace(train, threads=1), scale=scale)


def test_one_two_and_one_worker_in_one_run(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "_RESIZE_S", 5.0)
    faces = str(tmp_path / "faces")
    write_dataset(faces, read_faces(FacesConfig(people=12, images_per_person=8, size=32, splits=(1.0, 0.0, 0.0))))
    run, stop = Run(recipe_of(100_000), faces, "runs", "elastic"), threading.Event()
    seen: list[tuple[float, int, int]] = []  # time, step, workers
    _watch(monkeypatch, seen)
    ended: list[BaseException] = []
    thread = threading.Thread(target=_fit, args=(run, stop, ended))
    began = time.monotonic()
    thread.start()
    _until(seen, ended, 1)
    node = cluster.add_node(num_cpus=1)
    _until(seen, ended, 2)
    cluster.remove_node(node)
    _until(seen, ended, 1, after=len(seen))
    stop.set()
    thread.join(LIMIT_S)
    assert [type(each) for each in ended] == [KeyboardInterrupt]
    changes = [seen[0], *(new for old, new in pairwise(seen) if old[2] != new[2])]
    print("workers:", [(round(at - began), step, workers) for at, step, workers in changes])
    assert [workers for _, _, workers in changes] == [1, 2, 1]
    last = sorted((tmp_path / "runs/elastic/checkpoints").glob("step-*"))[-1]
    alone = replace(run, name="alone", recipe=recipe_of(int(read_meta(last)["step"])))
    launch.fit_here(alone)
    (other,) = list((tmp_path / "runs/alone/checkpoints").glob(last.name))
    one, two = (load_tensors(folder / "classifier.safetensors") for folder in (last, other))
    apart = max(float((one[name] - two[name]).abs().max() / two[name].abs().max().clamp(min=1e-3)) for name in two)
    print("largest relative difference of a weight:", apart)
    assert apart < 0.05


def _fit(run: Run, stop: threading.Event, ended: list[BaseException]) -> None:
    try:
        launch.fit(run, stop=stop)
    except BaseException as error:
        ended.append(error)


def _watch(monkeypatch: pytest.MonkeyPatch, seen: list[tuple[float, int, int]]) -> None:
    """Keep what is shown of the run."""
    import contextlib

    @contextlib.contextmanager
    def shown(*_: Any) -> Iterator[Any]:
        def show(step: int, values: Any) -> None:
            if step and (not seen or seen[-1][1] != step):
                seen.append((time.monotonic(), step, int(values["speed/workers"])))

        yield show

    monkeypatch.setattr(launch, "_shown", shown)


def _until(seen: list[tuple[float, int, int]], ended: list[BaseException], workers: int, after: int = 0) -> None:
    """Wait until so many workers have come through two checkpoints."""
    until = time.monotonic() + LIMIT_S
    while len({step // 25 for _, step, number in seen[after:] if number == workers}) < 3:
        assert not ended, ended
        assert time.monotonic() < until, f"no report of {workers} workers: {seen[-3:]}"
        time.sleep(0.2)
