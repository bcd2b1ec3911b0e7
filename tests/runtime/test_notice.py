"""The watcher of AWS's notices against a real metadata service; tests/cluster/test_notices.py has one on a node of Ray.

pytest tests/runtime/test_notice.py
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from forked import run_job
from imds import ACTION, REBALANCE, Imds, publish

from stargan_ray.errors import InputError
from stargan_ray.runtime import notice
from stargan_ray.runtime.notice import Metadata, Node, local_node, watch


@pytest.fixture
def imds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imds]:
    server = Imds("127.0.0.1", 0, tmp_path)
    publish(tmp_path, "instance-id", "i-0123456789abcdef0")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{server.url}/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody there: the machine itself is to be asked
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the place of a node, and of Ray's command line one that only says what it is given."""
    with subprocess.Popen(["sleep", "60"]) as process:
        found = Node("ab" * 28, "10.0.0.1:6379", psutil.Process(process.pid))
        monkeypatch.setattr(notice, "local_node", lambda address: found)
        yield process
        process.kill()


@pytest.fixture
def drains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What Ray's command line was given, a line each; it succeeds from the second time on."""
    told, program = tmp_path / "told", tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {told}\n[ $(wc -l < {told}) -gt 1 ] || {{ echo no head >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return told


def test_a_text_is_asked_for_with_a_token_and_again_when_that_has_run_out(imds: Imds) -> None:
    metadata = Metadata()
    assert metadata.ask(ACTION) == ""
    publish(imds.folder, ACTION, "soon")
    assert metadata.ask(ACTION) == "soon"
    assert len(imds.tokens) == 1
    imds.tokens.clear()
    assert metadata.ask(ACTION) == "soon"
    assert len(imds.tokens) == 1
    assert set(imds.asked) == {f"/latest/meta-data/{ACTION}"}


def test_a_notice_is_told_to_ray_until_it_takes_it(
    imds: Imds, node: object, drains: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=100)).strftime("%Y-%m-%dT%H:%M:%SZ")
    publish(imds.folder, ACTION, f'{{"action": "terminate", "time": "{at}"}}')
    watch(every_s=0.01)
    first, failed, done = capsys.readouterr().out.splitlines()
    assert first == f"node abababab will be drained when {imds.url} has a notice"
    assert failed == f"spot machine: terminate at {at}: not drained, no head"
    given = drains.read_text().splitlines()[-1]
    left = int(given.rpartition(" ")[2])
    assert 90 <= left <= 100
    assert done == f"drained, {left} s ahead: spot machine: terminate at {at}"
    assert given == (
        f"-m ray.scripts.scripts drain-node --address 10.0.0.1:6379 --node-id {'ab' * 28} "
        f"--reason DRAIN_NODE_REASON_PREEMPTION --reason-message spot machine: terminate at {at} "
        f"--deadline-remaining-seconds {left}"
    )


def test_advice_is_said_once_and_drains_only_where_that_is_asked_for(
    imds: Imds, node: subprocess.Popen[bytes], drains: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(imds.folder, REBALANCE, '{"noticeTime": "2026-01-02T03:04:05Z"}')
    thread = threading.Thread(target=watch, args=("", 0.01), daemon=True)
    thread.start()
    while len(imds.asked) < 20:
        time.sleep(0.01)
    assert thread.is_alive()
    node.kill()  # and it ends with the node
    thread.join(5)
    assert not thread.is_alive()
    said = 'AWS advises to rebalance, {"noticeTime": "2026-01-02T03:04:05Z"}'
    assert capsys.readouterr().out.splitlines()[1:] == [said]
    assert not drains.exists()


def test_advice_drains_without_a_deadline_where_that_is_asked_for(
    imds: Imds, node: object, drains: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(imds.folder, REBALANCE, "{}")
    watch(every_s=0.01, rebalance=True)
    assert capsys.readouterr().out.splitlines()[-1] == "drained: AWS advises to rebalance, {}"
    assert "deadline" not in drains.read_text()


@pytest.mark.parametrize("text", ["<h1>", "{}", "[1]", '{"action": "stop", "time": "soon"}'])
def test_a_notice_that_is_none_is_said_and_asked_for_again(
    text: str, imds: Imds, node: subprocess.Popen[bytes], drains: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(imds.folder, ACTION, text)
    threading.Timer(0.3, node.kill).start()
    watch(every_s=0.01)
    (said,) = capsys.readouterr().out.splitlines()[1:]
    assert said.startswith(f"{imds.url} does not answer as it should (")
    assert imds.asked.count(f"/latest/meta-data/{ACTION}") > 3
    assert not drains.exists()


def test_a_machine_that_is_not_at_aws_is_told_so_and_left_alone(
    node: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(notice, "_TRIES", 1)
    watch()
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("no notices: http://127.0.0.1:9 is no metadata service of AWS (")


def test_without_a_node_of_ray_it_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^0 nodes of Ray with the address 203\.0\.113\.7 run on this machine: allowed"
    ):
        local_node("203.0.113.7")


def test_as_a_job_it_ends_with_two_when_it_is_used_wrongly() -> None:
    done = run_job("notice", "--every-s", "0")
    assert (done.returncode, done.stderr) == (2, "error: --every-s 0: allowed are values above 0 and up to 60\n")
