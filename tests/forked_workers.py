"""Workers of Ray as forks of the process that has the libraries loaded, as the jobs of forked.py are.

A worker of Ray costs six seconds of a core before it does anything, most of them PyTorch and what reads data, and the
tests start more than a hundred. Ray lets a job name the program that its workers run in (``py_executable`` of a
runtime environment): here this file, which asks the process of the tests for a fork, hands its streams and environment
on and stays as long as the fork does. Ray knows a worker by the pid that it tells, which is the fork's.

Variables: CONFIG is what Ray reads; the tests that must start Ray as a person does take it out of the environment.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_LONGEST = 1 << 18  # bytes of a worker's arguments and environment


def config_of(address: str) -> str:
    """Value of CONFIG: workers are asked for at this address."""
    command = f"{sys.executable} -I -S {Path(__file__).resolve()} {address}"
    return json.dumps({"runtime_env": {"py_executable": command}})


class Nursery:
    """Forks workers for whoever asks at ``address`` (a path of at most 100 characters) while this process lives."""

    def __init__(self, address: str) -> None:
        from threading import Thread

        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(address)
        self._listener.listen(64)
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        from threading import Thread

        while True:
            asking, _ = self._listener.accept()
            Thread(target=_mind, args=(asking,), daemon=True).start()


def _mind(asking: socket.socket) -> None:
    """Fork the worker that is asked for, and tell its status when it has ended; it ends with who asked."""
    import select
    import signal

    from forked import fork_of

    told, streams, _, _ = socket.recv_fds(asking, _LONGEST, 3)
    if not told:
        return
    worker = json.loads(told)
    # Ray gives a worker as many threads as whole CPUs when it has started, too late for a PyTorch that is loaded
    environment = {"OMP_NUM_THREADS": "1", **worker["environment"]}
    process = fork_of(worker["args"], worker["cwd"], environment, streams[1], streams[2])
    for stream in streams:
        os.close(stream)
    ready, _, _ = select.select([process.sentinel, asking], [], [])
    if asking in ready and process.exitcode is None:
        os.kill(int(process.pid or 0), signal.SIGKILL)
    process.join()
    status = int(process.exitcode or 0)
    with asking:
        try:
            asking.send(str(status if status >= 0 else 128 - status).encode())
        except OSError:
            return  # who asked has ended


def _ask(address: str, args: list[str]) -> int:
    """Be the worker's place in the eyes of who starts it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as nursery:
        nursery.connect(address)
        told = json.dumps({"args": args, "cwd": str(Path.cwd()), "environment": dict(os.environ)}).encode()
        socket.send_fds(nursery, [told], [0, 1, 2])
        return int(nursery.recv(16) or b"1")


if __name__ == "__main__":
    sys.exit(_ask(sys.argv[1], sys.argv[2:]))
