"""A cluster that does not answer is one line within seconds, where Ray itself tries for minutes.

pytest tests/runtime/test_cluster.py
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from stargan_ray.errors import InputError
from stargan_ray.runtime.cluster import _in_a_lasting_thread, start_ray


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "[::1]:{}"])
def test_an_address_where_nobody_listens_is_one_line(
    form: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", form.format(closed_port))
    with pytest.raises(InputError, match="no Ray cluster answers at RAY_ADDRESS") as caught:
        start_ray()
    assert form.format(closed_port) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_that_nobody_knows_and_a_port_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("no-such-host.invalid:6379", "127.0.0.1:99999"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match="no Ray cluster answers"):
            start_ray()


def test_the_thread_that_starts_ray_stays_since_rays_processes_end_with_it() -> None:
    seen = list[threading.Thread]()
    _in_a_lasting_thread(lambda: seen.append(threading.current_thread()))
    assert seen[0] is not threading.current_thread()
    assert seen[0].daemon, "it must not keep the process from ending"
    seen[0].join(0.2)
    assert seen[0].is_alive()


def test_what_goes_wrong_in_that_thread_is_raised_where_it_was_asked_for() -> None:
    seen = list[threading.Thread]()

    def fail() -> None:
        seen.append(threading.current_thread())
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError, match="nobody there"):
        _in_a_lasting_thread(fail)
    seen[0].join(10)
    assert not seen[0].is_alive()


_IN_A_PASSING_THREAD = """
import os, threading
from stargan_ray.runtime.cluster import start_ray
passing = threading.Thread(target=start_ray)
passing.start()
passing.join()
while os.path.exists(f"/proc/self/task/{passing.native_id}"):  # until it has ended for its children too
    pass
import ray
print(ray.get(ray.remote(lambda: "still there").remote(), timeout=60))
"""


def test_ray_outlives_the_thread_of_a_part_of_the_work_that_started_it() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_PASSING_THREAD],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=180,
    )
    assert done.stdout == "still there\n", done.stderr[-2000:]
