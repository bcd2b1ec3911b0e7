"""A job or a worker of Ray that is a fork says, leaves and ends as the one that is started as a person starts it.

pytest tests/test_forked.py
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from forked import ROOT, StartedJob, run_job
from forked_workers import CONFIG

FACES = ("faces", "--out", "drawn", "--faces.people", "4", "--faces.size", "32")


def as_a_person(name: str, *flags: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "jobs" / f"{name}.py"), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "flags", "status"),
    [("status", ("nobody", "--storage", "runs"), 2), ("train", ("nothing",), 2), ("ingest", FACES, 0)],
)
def test_both_say_the_same_and_end_alike(name: str, flags: tuple[str, ...], status: int, tmp_path: Path) -> None:
    places = [tmp_path / "fork", tmp_path / "process"]
    for place in places:
        place.mkdir()
    fork, process = run_job(name, *flags, cwd=places[0]), as_a_person(name, *flags, cwd=places[1])
    assert fork.returncode == process.returncode == status
    told, expected = (
        (done.stdout + done.stderr).replace(str(place), "") for done, place in zip((fork, process), places, strict=True)
    )
    assert told == expected
    files = [sorted(path.relative_to(place) for path in place.rglob("*")) for place in places]
    assert files[0] == files[1]


def test_it_is_a_process_of_its_own_that_a_signal_ends(tmp_path: Path) -> None:
    long = StartedJob("ingest", "faces", "--out", "drawn", "--faces.people", "100000", cwd=tmp_path)
    assert long.pid != os.getpid()
    with pytest.raises(subprocess.TimeoutExpired):
        long.wait(0.5)
    long.send_signal(signal.SIGKILL)
    assert long.wait(10) == -signal.SIGKILL
    assert not (tmp_path / "drawn" / "manifest.json").exists()


@pytest.fixture(params=["fork", "process"])
def ray_and_forked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, bool]]:
    """Ray whose workers are told a variable, and whether they are forks."""
    import ray

    if request.param == "process":
        monkeypatch.delenv(CONFIG, raising=False)
    ray.shutdown()  # one that a test before has left
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": {"TOLD": "1"}})
    yield ray, CONFIG in os.environ
    ray.shutdown()


def test_a_worker_is_told_and_tells_the_same_and_ray_sees_it_end(ray_and_forked: tuple[Any, bool]) -> None:
    ray, forked = ray_and_forked

    class Worker:
        def about(self) -> dict[str, Any]:
            # looked up in the worker: the driver's modules are not its
            return {
                "pid": os.getpid(),
                "told": os.environ["TOLD"],
                "loaded": "torch" in sys.modules,
                "package": "stargan_ray" in sys.modules,
                "threads": os.environ["OMP_NUM_THREADS"],
                "where": str(Path.cwd()),
            }

        def end(self) -> None:
            os._exit(3)

    kind = ray.remote(Worker)
    one, other = kind.remote(), kind.remote()
    about = ray.get(one.about.remote())
    assert about["pid"] not in (os.getpid(), ray.get(other.about.remote())["pid"])
    assert about["loaded"] == forked
    assert (about["told"], about["package"], about["threads"]) == ("1", False, "1")
    assert about["where"] == str(Path.cwd())
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(one.end.remote())
    os.kill(ray.get(other.about.remote())["pid"], signal.SIGKILL)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(other.about.remote(), timeout=30)
    last = kind.remote()
    pid = ray.get(last.about.remote())["pid"]
    ray.kill(last)
    _ends(pid)


def _ends(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(30)
