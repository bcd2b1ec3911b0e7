"""A cluster that does not answer is one line within seconds, where Ray itself tries for minutes.

pytest tests/runtime/test_cluster.py
"""

from __future__ import annotations

import socket

import pytest

from stargan_ray.errors import InputError
from stargan_ray.runtime.cluster import start_ray


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
