"""A job that is a fork says, leaves and ends as the same job that is started as a person starts it.

pytest tests/test_forked.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from forked import ROOT, StartedJob, run_job

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
