"""One run on two real Ray nodes: its worker is killed, then its node is drained; the end is bit-equal to no failure.

pytest tests/runtime/test_failures_ray.py -m slow
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from stargan_ray.config import Recipe, ScaleConfig
from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.writing import write_dataset
from stargan_ray.recipes import recipe_named
from stargan_ray.runtime import launch
from stargan_ray.runtime.run import Run
from stargan_ray.training.weights import load_tensors

pytestmark = pytest.mark.slow
LIMIT_S, STEPS = 240.0, 2_500


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for one and its reader each."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        found.add_node(num_cpus=2)
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found
    ray.shutdown()
    found.shutdown()


def recipe_of() -> Recipe:
    base = recipe_named("expression-tiny")
    train = replace(base.train, steps=STEPS, report_every=10, checkpoint_every=200, validate_every=0, sample_every=0)
    return replace(base, train=replace(train, threads=1), scale=ScaleConfig(cpus_per_worker=0.5, cpus_per_reader=0.5))


def worker_process() -> psutil.Process | None:
    """The training worker below this process: other Rays of this machine are not ours."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::RayTrainWo") or "RayTrainWorker" in " ".join(process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


def until(what: str, found: Callable[[], Any], ended: list[Any]) -> Any:
    limit = time.monotonic() + LIMIT_S
    while not (value := found()):
        assert not ended, f"waiting for {what}: {ended}"
        assert time.monotonic() < limit, f"waiting for {what}"
        time.sleep(0.1)
    return value


def test_killed_then_drained_it_ends_as_without(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces = str(tmp_path / "faces")
    write_dataset(faces, read_faces(FacesConfig(people=12, images_per_person=8, size=32, splits=(1.0, 0.0, 0.0))))
    run, ended, steps = Run(recipe_of(), faces, "runs", "failing"), [], []
    _watch(monkeypatch, steps)
    thread = threading.Thread(target=_fit, args=(run, ended))
    thread.start()
    until("step 300", lambda: steps and steps[-1] > 300, ended)
    killed = until("the worker", worker_process, ended)
    os.kill(killed.pid, signal.SIGKILL)
    began = time.monotonic()
    count = len(steps)
    until("steps after the kill", lambda: len(steps) > count + 3, ended)
    recovered = time.monotonic() - began
    _drain(until("the worker", worker_process, ended))
    began = time.monotonic()
    said = ""

    def noticed() -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return "is taken away" in said

    until("the notice", noticed, ended)
    written, count = time.monotonic() - began, len(steps)
    until("steps after the drain", lambda: len(steps) > count + 5, ended)
    print(f"s to a report after SIGKILL: {recovered:.0f}; to the checkpoint after the notice: {written:.0f}")
    print(f"s from there to a report on the other node: {time.monotonic() - began - written:.0f}")
    thread.join(LIMIT_S)
    assert [getattr(each, "step", each) for each in ended] == [STEPS]
    print(said)
    launch.fit_here(replace(run, name="alone"))
    one, two = (
        load_tensors(tmp_path / "runs" / name / f"checkpoints/step-{STEPS:08d}/classifier.safetensors")
        for name in ("failing", "alone")
    )
    assert all(torch.equal(one[name], two[name]) for name in two)


def _fit(run: Run, ended: list[Any]) -> None:
    try:
        ended.append(launch.fit(run))
    except BaseException as error:
        ended.append(error)


def _drain(worker: psutil.Process) -> None:
    """As whoever hears that a machine will be taken away."""
    import ray

    (node,) = {each["NodeID"] for each in ray.nodes() if _is_of(worker, each)}
    words = ("--node-id", node, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot")
    command = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "drain-node",
        "--address",
        os.environ["RAY_ADDRESS"],
        *words,
    ]
    subprocess.run([*command, "--deadline-remaining-seconds", "40"], check=True, capture_output=True)


def _is_of(worker: psutil.Process, node: dict[str, Any]) -> bool:
    """Whether a worker is of a node: its raylet is its parent and listens at the node's port."""
    ports = {each.laddr.port for each in worker.parent().net_connections() if each.status == psutil.CONN_LISTEN}
    return node["NodeManagerPort"] in ports


def _watch(monkeypatch: pytest.MonkeyPatch, steps: list[int]) -> None:
    """Keep the steps that are shown."""
    import contextlib

    @contextlib.contextmanager
    def shown(*_: Any) -> Iterator[Any]:
        yield lambda step, values: steps.append(step) if step and (not steps or steps[-1] != step) else None

    monkeypatch.setattr(launch, "_shown", shown)
