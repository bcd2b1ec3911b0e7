"""How a job ends: one line and a status for what people can mend, a traceback for faults of ours.

pytest tests/runtime/test_job_errors.py
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
from stargan_ray.runtime.cli import run

ROOT = str(Path(__file__).parents[2])


def ending(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str]:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main)
    return ended.value.code, capsys.readouterr().err


def test_what_people_can_mend_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(InputError("the flag\n  is wrong"), capsys) == (2, "error: the flag is wrong\n")
    full = OSError(errno.ENOSPC, "No space left on device", "/data/x")
    assert ending(full, capsys) == (2, "error: No space left on device: /data/x\n")
    status, said = ending(KeyboardInterrupt(), capsys)
    assert (status, said.count("\n")) == (130, 1)


@pytest.mark.parametrize("error", [ValueError("ours"), AssertionError(), OSError(errno.EBADF, "ours")])
def test_our_faults_keep_their_traceback(error: Exception) -> None:
    def main() -> None:
        raise error

    with pytest.raises(type(error)):
        run(main)


PROCESS = """
import atexit, sys
from stargan_ray.errors import InputError
from stargan_ray.runtime import cli
def main():
    atexit.register(lambda: print("cleaned up"))
    print("working")
    {what}
cli.job(main)
print("after")
"""


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("pass", 0, ""),
        ("raise InputError('wrong flag')", 2, "error: wrong flag\n"),
        ("raise KeyboardInterrupt", 130, "interrupted: the same command again goes on from here\n"),
    ],
)
def test_a_process_ends_with_its_status_after_what_was_registered(what: str, status: int, said: str) -> None:
    command = [sys.executable, "-c", PROCESS.format(what=what)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ROOT})
    assert (done.returncode, done.stderr) == (status, said)
    assert done.stdout.splitlines() == ["working", "after", "cleaned up"]


@pytest.mark.parametrize(("given", "used"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_a_job_gives_back_what_arrow_took_unless_told_otherwise(given: str | None, used: str) -> None:
    command = [
        sys.executable,
        "-c",
        PROCESS.format(what="import pyarrow; print(pyarrow.default_memory_pool().backend_name)"),
    ]
    others = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    told = {} if given is None else {"ARROW_DEFAULT_MEMORY_POOL": given}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**others, **told, "PYTHONPATH": ROOT}
    )
    assert done.stdout.splitlines()[1] == used


def test_a_process_with_a_fault_of_ours_shows_its_traceback() -> None:
    command = [sys.executable, "-c", PROCESS.format(what="raise ValueError('ours')")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ROOT})
    assert done.returncode == 1
    assert "ValueError: ours" in done.stderr


def test_a_job_that_works_just_returns() -> None:
    run(lambda: None)


@dataclass(frozen=True)
class Sizes:
    """A config in a job."""

    width: int = 4
    height_px: int = 3

    def __post_init__(self) -> None:
        if self.width < 1:
            raise InputError(f"width = {self.width}: allowed are values >= 1")


@dataclass(frozen=True)
class Draw:
    """One word of a job."""

    source: Annotated[str, tyro.conf.arg(name="from")] = "here"
    sizes: Sizes = Sizes()


@dataclass(frozen=True)
class Erase:
    """The other."""

    everything: bool = False


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["drew"], r"unknown word 'drew': did you mean 'draw'\? allowed: draw, erase"),
        (["draw", "--sizes.widht", "3"], r"unknown argument '--sizes.widht': did you mean --sizes.width\?"),
        (["draw", "--sizes.height_p=3"], r"did you mean --sizes.height-px\?"),
        (["draw", "--form", "there"], r"did you mean --from\?"),
        (["erase", "--sizes.width", "3"], r"unknown argument '--sizes.width': --help lists"),
        (["draw", "--sizes.width", "0"], r"^width = 0: allowed are values >= 1$"),
        (["erase", "more"], r"unknown argument 'more'"),
    ],
)
def test_a_misspelt_word_or_flag_is_answered_with_the_nearest(given: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        cli.parse(Draw | Erase, None, given)


def test_flags_become_the_dataclass_and_a_default_fills_the_rest() -> None:
    assert cli.parse(Draw | Erase, None, ["draw", "--from", "there", "--sizes.width", "9"]) == Draw("there", Sizes(9))
    default = Draw("there", Sizes(7, 7))
    assert cli.parse(Draw, None, ["--sizes.height-px", "1"], default=default) == Draw("there", Sizes(7, 1))
    with pytest.raises(InputError, match=r"did you mean --sizes.width\?"):
        cli.parse(Draw, None, ["--size.width", "1"], default=default)
