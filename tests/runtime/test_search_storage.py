"""A search whose disk fills up, and one whose store goes away: one line, nothing lost, the same command goes on.

pytest tests/runtime/test_search_storage.py -m slow   (real searches; one to two minutes each)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_search import Searching, build_place, flags_of, searching, status_of_job, written_by

from stargan_ray.runtime.search_ledger import Ledger

pytestmark = pytest.mark.slow
FLAGS = ("--search", "rate_d=loguniform(1e-5,1e-3)", "--only", "--scheduler", "none", "--parallel", "2")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a search."""
    mount = tmp_path / "small-disk"
    mount.mkdir()
    sized = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(mount)]
    if os.geteuid() or subprocess.run(sized, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Take all room of a disk but some bytes; gives what is to be deleted to make room again."""
    filler = disk / "filler"
    file = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while shutil.disk_usage(disk).free > leave:
            os.write(file, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(file)
    return filler


def one_line(job: Searching, *parts: str) -> None:
    """The last thing said is an error of one line, and nothing before it is a traceback."""
    assert "Traceback" not in job.said, job.said
    (error,) = (line for line in job.lines() if line.startswith("error: "))
    assert error == job.lines()[-1]
    for part in parts:
        assert part in error, error


@pytest.mark.parametrize("leave", [0, 40_000])
def test_a_full_disk_ends_a_search_in_one_line_and_it_goes_on_with_room(
    leave: int, small_disk: Path, tmp_path: Path
) -> None:
    """Runs, records and MLflow's file are all on it; with some bytes left a ledger can be written, no checkpoint."""
    place = build_place(small_disk / "place")
    flags = ["lambda-id", *flags_of("full", *FLAGS), "--trials", "4", "--seed", "1"]
    folder, ledger = place / "runs/full", Ledger(str(place / "runs/full"))
    with searching(place, flags, tmp_path / "first.log") as job:
        job.until("a trial", lambda: any(trial.status == "finished" for trial in ledger.all()))
        filler = fill(small_disk, leave)
        assert job.ended() == 2, job.said
        one_line(job, f"cannot write {place}", "the disk is full: free some space")
        assert job.left() == []
    before = ledger.all()
    over = [trial for trial in before if trial.status == "finished"]
    assert 1 <= len(over) < 4
    assert {trial.status for trial in before} == {"finished", "running"}, "no trial is to blame"
    seen = status_of_job("full", place)
    assert (seen.step, {trial.status for trial in seen.trials}) == (len(over), {"finished", "cut off"})
    assert seen.state in ("failed", "silent"), "what it was is not written where nothing can be"
    if leave:
        assert (seen.state, "the disk is full" in seen.why) == ("failed", True)

    with searching(place, flags, tmp_path / "full.log") as still:
        assert still.ended() == 2, still.said
        one_line(still, "the disk is full")
    filler.unlink()
    written = written_by(folder, over)
    with searching(place, flags, tmp_path / "again.log") as again:
        assert again.ended() == 0, again.said
    assert f"4 trials, {len(over)} of them are over" in again.said
    assert written_by(folder, over) == written, "a finished trial was done again"
    assert [trial.status for trial in ledger.all()] == ["finished"] * 4
    assert status_of_job("full", place).state == "finished"
