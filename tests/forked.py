"""Jobs as processes that need not load the libraries: forks of one that has them.

PyTorch, torchvision and MLflow cost a process six to twelve seconds of a core, and the tests start some two hundred.
A fork is a process of its own all the same, with its pid, signals, streams and working directory, and runs
``jobs/<name>.py`` from the first line. Not loaded before it are the package itself and Ray, which read variables when
they are imported. What a start costs a person, and what it loads, is for test_help.py and test_layers.py, whose
processes load everything themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
_LOADED = [
    "pytest", "pyarrow.dataset", "pandas", "torch", "torchvision.transforms.v2", "timm", "torchmetrics",
    "sklearn.linear_model", "pytorch_metric_learning.losses", "matplotlib.figure", "mlflow.pyfunc", "boto3",
]  # fmt: skip
_OF_ONE_TEST = ("AWS_", "RAY_", "MLFLOW_", "STARGAN_")


@functools.cache  # the environment is changed for a moment, which threads of a test might see
def forks() -> ForkServerContext:
    """The context of processes that have the libraries loaded, for tests that start functions of theirs too."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    with _everyones_environment():
        forkserver.ensure_running()
    return context


def fork_of(args: list[str], cwd: str, environment: dict[str, str], out: int, error: int) -> BaseProcess:
    """A started fork that is ``python args`` with these streams, working directory and environment."""
    given = (args, cwd, environment, _Descriptor(out), _Descriptor(error))
    process = forks().Process(target=_become, args=given)
    process.start()
    return process


def run_job(
    name: str, *flags: str, cwd: Path | str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """``python jobs/<name>.py flags…`` until it ends; variables are added to those of this process."""
    job = StartedJob(name, *flags, cwd=cwd, environment=environment)
    try:
        out, error = job.communicate()
    except BaseException:  # Ctrl-C, or a test that took too long
        job.kill()
        raise
    assert job.returncode is not None
    return subprocess.CompletedProcess(job.args, job.returncode, out, error)


class StartedJob:
    """``python jobs/<name>.py flags…`` in a session of its own: the part of ``subprocess.Popen`` that tests need.

    Args:
        name: the job.
        flags: what follows it.
        cwd: its working directory, this process's by default.
        log: an open file for all that it says; otherwise there are two pipes.
        together: its errors go where its output goes.
        environment: variables besides those of this process.
    """

    def __init__(
        self,
        name: str,
        *flags: str,
        cwd: Path | str | None = None,
        log: IO[str] | None = None,
        together: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.args = [str(ROOT / "jobs" / f"{name}.py"), *flags]
        self.stdout, out = _stream(log)
        self.stderr, error = (None, _Descriptor(os.dup(out.number))) if together or log else _stream(None)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # for what the job starts
        told = {**os.environ, "PYTHONPATH": path, **(environment or {})}
        self._process = fork_of(self.args, str(cwd or Path.cwd()), told, out.number, error.number)
        os.close(out.number)
        os.close(error.number)
        self.pid = int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        """Its status once it has ended, minus the signal where one ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As ``returncode``."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its status; ``TimeoutExpired`` if it does not end in so many seconds."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it says to both pipes until it ends."""
        with ThreadPoolExecutor(2) as readers:
            said = [readers.submit(_rest_of, stream) for stream in (self.stdout, self.stderr)]
            try:
                return said[0].result(timeout), said[1].result(timeout)
            except TimeoutError:
                self.kill()
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
            finally:
                self._process.join()

    def send_signal(self, number: int) -> None:
        """A signal to it alone, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Descriptor:
    """An open file's number here; in the other process, the number that it has there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (DupFd(self.number),)


def _arrived(sent: Any) -> _Descriptor:
    return _Descriptor(sent.detach())


def _stream(file: IO[str] | None) -> tuple[IO[str] | None, _Descriptor]:
    """The end to read from, if it is a pipe, and a number of its own of the end to write to."""
    if file:
        return None, _Descriptor(os.dup(file.fileno()))
    read, write = os.pipe()
    return os.fdopen(read), _Descriptor(write)


def _rest_of(stream: IO[str] | None) -> str:
    if stream is None or stream.closed:
        return ""
    with stream:
        return stream.read()


@contextlib.contextmanager
def _everyones_environment() -> Iterator[None]:
    """Without what one test has set: all forks of the session come from the process that is started in it."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(_OF_ONE_TEST):
            del os.environ[name]
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # as stargan_ray.runtime.cli has it
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _become(args: list[str], cwd: str, environment: dict[str, str], out: _Descriptor, error: _Descriptor) -> None:
    """Be ``python args``: its streams, environment and session, its module ``__main__``, its end."""
    os.setsid()
    os.dup2(out.number, 1)
    os.dup2(error.number, 2)
    os.close(out.number)
    os.close(error.number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv[:] = args
    sys.path[:0] = [str(Path(args[0]).parent), str(ROOT)]
    if threads := environment.get("OMP_NUM_THREADS"):
        sys.modules["torch"].set_num_threads(int(threads))  # which has read the variable before
    status = _status_of(args[0])
    # The interpreter's own end, for which there are no public names: a process of multiprocessing leaves both out.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


def _status_of(script: str) -> int:
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
