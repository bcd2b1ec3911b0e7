"""How a job ends: one line and a status for what people can mend, a traceback for faults of ours.

pytest tests/runtime/test_job_errors.py
"""

from __future__ import annotations

import errno

import pytest

from stargan_ray.errors import InputError
from stargan_ray.runtime.cli import run


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


def test_a_job_that_works_just_returns() -> None:
    run(lambda: None)
