"""A search whose disk fills up, and one whose store goes away: one line, nothing lost, the same command goes on.

pytest tests/runtime/test_search_storage.py -m slow   (real searches; one to two minutes each)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_search import ROOT, Seen, build_place, flags_of, one_line, searching, status_of_job, written_by

from stargan_ray.data import storage
from stargan_ray.errors import InputError
from stargan_ray.runtime.search_ledger import Ledger

pytestmark = pytest.mark.slow
FLAGS = ("--search", "rate_d=loguniform(1e-5,1e-3)", "--only", "--scheduler", "none", "--parallel", "2")


def statuses(ledger: Ledger) -> set[str]:
    """Of the trials; none where one cannot be read, since moto gives half of an object that is just being replaced."""
    try:
        return {trial.status for trial in ledger.all()}
    except InputError:
        return set()


def once_quiet(name: str, place: Path, where: str = "runs") -> Seen:
    """What jobs/status.py says of a search that is over and could not say so, when its last beat is old enough."""
    end = time.monotonic() + 60
    while (seen := status_of_job(name, place, where)).state == "training" and time.monotonic() < end:
        time.sleep(1)
    return seen


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


@pytest.mark.parametrize("leave", [0, 40_000])
def test_a_full_disk_ends_a_search_in_one_line_and_it_goes_on_with_room(
    leave: int, small_disk: Path, tmp_path: Path
) -> None:
    """Runs, records and MLflow's file are all on it; with some bytes left a ledger can be written, no checkpoint."""
    place = build_place(small_disk / "place")
    flags = ["lambda-id", *flags_of("full", *FLAGS), "--trials", "3", "--seed", "1"]
    ledger = Ledger(str(place / "runs/full"))
    with searching(place, flags, tmp_path / "first.log") as job:
        job.until("two trials", lambda: {"finished", "running"} <= statuses(ledger))
        filler = fill(small_disk, leave)
        assert job.ended() == 2, job.said
        one_line(job, f"cannot write {place}", "the disk is full: free some space")
        assert job.left() == []
    before = ledger.all()
    over = [trial for trial in before if trial.status == "finished"]
    assert 1 <= len(over) < 3
    assert {trial.status for trial in before} == {"finished", "running"}, "no trial is to blame"
    seen = once_quiet("full", place)
    assert (seen.step, {trial.status for trial in seen.trials}) == (len(over), {"finished", "cut off"})
    assert seen.state in ("failed", "silent"), "what it was is not written where nothing can be"
    assert seen.state == "silent" or "the disk is full" in seen.why

    with searching(place, flags, tmp_path / "full.log") as still:
        assert still.ended() == 2, still.said
        one_line(still, "the disk is full")
    filler.unlink()
    written = written_by(ledger.uri, over)
    with searching(place, flags, tmp_path / "again.log") as again:
        assert again.ended() == 0, again.said
    assert f"3 trials, {len(over)} of them are over" in again.said
    assert written_by(ledger.uri, over) == written, "a finished trial was done again"
    assert [trial.status for trial in ledger.all()] == ["finished"] * 3
    assert status_of_job("full", place).state == "finished"


class Store:
    """The way to an S3 server that keeps its objects: a process that can be killed and comes back at the same port."""

    def __init__(self, behind: str) -> None:
        self._behind, self._port = behind, 0
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        program = f"from flaky_s3 import FlakyS3; import time; s = FlakyS3({self._behind!r}, {self._port}); "
        program += "print(s.port, flush=True); time.sleep(3600)"
        command = [sys.executable, "-c", program]
        self._process = subprocess.Popen(command, cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def store(s3: str, s3_endpoint: str, tmp_path: Path) -> Iterator[Store]:
    """In front of the tests' server, whose bucket holds the data."""
    build_place(tmp_path / "place")
    storage.put_folder(tmp_path / "place" / "faces", f"{s3}/faces")
    found = Store(s3_endpoint)
    yield found
    found.kill()


def stored(s3: str, name: str) -> list[str]:
    """Flags of a search that reads from and writes to the store."""
    flags = flags_of(name, *FLAGS)
    flags[flags.index("--data") + 1] = f"{s3}/faces"
    return ["lambda-id", *flags, "--storage", f"{s3}/runs", "--trials", "3", "--seed", "1"]


def test_a_search_rides_out_a_store_that_is_away_for_seconds_again_and_again(
    store: Store, s3: str, tmp_path: Path
) -> None:
    place, ledger, outages = tmp_path / "place", Ledger(f"{s3}/runs/short"), 0
    with searching(place, stored(s3, "short"), tmp_path / "log", AWS_ENDPOINT_URL=store.url) as job:
        job.until("trials", lambda: job.said.count("| running |") >= 2)
        while job.process.poll() is None and outages < 6:
            store.kill()
            time.sleep(4)
            store.up()
            outages += 1
            time.sleep(6)  # so each part of a trial meets one: its start, its steps, its checkpoints, its judging
        assert job.ended() == 0, job.said
    assert outages >= 3
    assert [trial.status for trial in ledger.all()] == ["finished"] * 3
    assert "Traceback" not in job.said, job.said
    assert status_of_job("short", place, f"{s3}/runs").state == "finished"


@pytest.mark.parametrize("back", [False, True])
def test_a_store_that_stays_away_ends_a_search_in_one_line_and_it_goes_on_later(
    back: bool, store: Store, s3: str, tmp_path: Path
) -> None:
    """``back``: it comes back after more than the patience, while the search is ending."""
    place, flags, ledger = tmp_path / "place", stored(s3, "away"), Ledger(f"{s3}/runs/away")
    environment = {"AWS_ENDPOINT_URL": store.url, "STARGAN_S3_PATIENCE_S": "5"}
    with searching(place, flags, tmp_path / "first.log", **environment) as job:
        job.until("two trials", lambda: {"finished", "running"} <= statuses(ledger))
        store.kill()
        if back:
            time.sleep(12)
            store.up()
        assert job.ended(120) == 2, job.said
        one_line(job, f"{s3}/", "the endpoint cannot be reached: check AWS_ENDPOINT_URL and the network")
        assert job.left() == []
    over = [trial for trial in ledger.all() if trial.status == "finished"]
    assert 1 <= len(over) < 3
    assert {trial.status for trial in ledger.all()} == {"finished", "running"}, "no trial is to blame"
    seen = once_quiet("away", place, f"{s3}/runs")
    assert (seen.step, {trial.status for trial in seen.trials}) == (len(over), {"finished", "cut off"})
    if not back:
        assert seen.state == "silent", "that it failed could not be written"
        with searching(place, flags, tmp_path / "away.log", **environment) as still:
            assert still.ended(60) == 2, still.said
            one_line(still, "cannot be reached", store.url)
        store.up()

    written = written_by(ledger.uri, over)
    with searching(place, flags, tmp_path / "again.log", **environment) as again:
        assert again.ended() == 0, again.said
    assert f"3 trials, {len(over)} of them are over" in again.said
    assert written_by(ledger.uri, over) == written, "a finished trial was done again"
    assert [trial.status for trial in ledger.all()] == ["finished"] * 3
    assert status_of_job("away", place, f"{s3}/runs").state == "finished"
