"""jobs/refine.py as processes that are killed half-way: the same command ends with what an unharmed one writes.

pytest tests/runtime/test_refine_killed.py   (five runs of the job, two of them with a Ray of their own; a minute)
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forked import StartedJob
from tiny_models import DOMAINS, TinyModels

from stargan_ray.data.faces import FacesConfig
from stargan_ray.data.readers.faces import read_faces
from stargan_ray.data.units import write_table
from stargan_ray.data.writing import write_dataset

ROWS, BLOCK = 480, 4  # many small blocks, so that there is a half-way

Refine = Callable[..., StartedJob]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "faces"
    assert write_dataset(str(path), read_faces(FacesConfig(people=ROWS // 16, size=32))).rows == ROWS
    return path


@pytest.fixture(scope="module")
def refine(data: Path, tiny: TinyModels) -> Refine:
    """Starts the job; with one thread, since the sums of several differ in their last bits."""

    def start(out: Path, *flags: str) -> StartedJob:
        command = ["--data", str(data), "--classifier", str(tiny.expression), "--out", str(out), "--block", str(BLOCK)]
        return StartedJob("refine", *command, *flags, together=True, environment={"OMP_NUM_THREADS": "1"})

    return start


@pytest.fixture(scope="module")
def whole(refine: Refine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the job writes when nothing happens to it."""
    out = tmp_path_factory.mktemp("whole") / "refined"
    finish(refine(out))
    return out


def finish(job: StartedJob) -> None:
    said = job.communicate()[0]
    assert job.returncode == 0, said


def wait_for_blocks(job: StartedJob, out: Path, least: int) -> None:
    while len(stored(out)) < least:
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.005)


def kill(job: StartedJob) -> None:
    """SIGKILL to the driver, then to what it had started: a machine that goes down takes all of it."""
    family = psutil.Process(job.pid).children(recursive=True)
    job.kill()
    job.communicate()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=10)


def stored(out: Path) -> dict[str, tuple[int, int]]:
    """The blocks of scores, and what would be another if one were written again."""
    found = {}
    for path in out.glob("scores/*/*.parquet"):
        with contextlib.suppress(FileNotFoundError):  # all go once the job is done with them
            found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns)
    return found


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_a_killed_job_goes_on_behind_its_last_block_and_ends_the_same(
    refine: Refine, whole: Path, tmp_path: Path
) -> None:
    out, marked = tmp_path / "refined", tmp_path / "marked"
    job = refine(out)
    wait_for_blocks(job, out, 5)
    kill(job)
    blocks = sorted(stored(out))
    assert 5 <= len(blocks) < ROWS // BLOCK
    assert not (out / "manifest.json").exists()

    shutil.copytree(out, marked)
    finish(refine(out))
    assert files(out) == files(whole)

    # A copy whose blocks hold numbers that no network would give shows which rows were scored a second time: none.
    for path in marked.glob("scores/*/*.parquet"):
        write_table(str(path), pa.table({f"p_{name}": pa.array([0.25] * BLOCK, pa.float32()) for name in DOMAINS}))
    finish(refine(marked))
    found, expected = (pq.read_table(each / "decisions.parquet") for each in (marked, whole))
    rows = np.concatenate([np.arange(BLOCK) + int(name.removesuffix(".parquet")) for name in blocks])
    for name in DOMAINS:
        scores = expected[f"p_{name}"].to_numpy().copy()
        scores[rows] = 0.25
        np.testing.assert_array_equal(found[f"p_{name}"].to_numpy(), scores)


@pytest.mark.slow  # the driver alone is killed above, and a pool's worker in tests/data/test_refine.py
def test_a_pool_of_ray_does_so_too_when_its_driver_and_then_a_worker_are_killed(
    refine: Refine, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "refined"
    job = refine(out, "--parallel", "2")
    wait_for_blocks(job, out, 5)
    kill(job)
    before = stored(out)
    assert 5 <= len(before) < ROWS // BLOCK

    job = refine(out, "--parallel", "2")
    wait_for_blocks(job, out, len(before) + 5)
    workers = [each for each in psutil.Process(job.pid).children(recursive=True) if "_Actor" in each.name()]
    workers[0].kill()
    during = stored(out)
    assert len(during) < ROWS // BLOCK
    assert before.items() <= during.items()
    finish(job)
    assert files(out) == files(whole)
