"""cluster/local.yaml as it is delivered: `ray up` over ssh, a training on two machines, `ray down`.

pytest -m slow tests/cluster/test_ray_up.py -s   (some four minutes; it prints what each step took)
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import BIN, ROOT, Bed, bucket, wait_until
from bed_services import S3_KEYS
from bed_ssh import changed, open_ports, running, ssh_machines

pytestmark = pytest.mark.slow
_KEYS = "[default]\naws_access_key_id = {AWS_ACCESS_KEY_ID}\naws_secret_access_key = {AWS_SECRET_ACCESS_KEY}\n"
_THERE = "http://127.0.0.1:8265"
_SMALL = ("--faces.people", "20", "--faces.size", "32", "--shard-rows", "64")
_SHORT = ("--train.steps", "6", "--train.report-every", "1", "--train.sample-every", "0")


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Bed]:
    """Two machines that somebody owns, with the bucket's keys on each, and an S3 server."""
    with ssh_machines(tmp_path, 2) as bed:
        for node in bed.nodes:
            (node.home / ".aws").mkdir()
            (node.home / ".aws/credentials").write_text(_KEYS.format(**S3_KEYS))
        (bed.outside.home / ".ray").mkdir()
        bed.start_s3()
        yield bed


def _local_yaml(bed: Bed) -> str:
    """Ours, with what its head says is to be replaced, and what cannot be had without a package index.

    Instead of gigabytes from an index, the third-party packages of this environment are on the path of each machine's
    own. That environment is made there, by a Python of the same version; the package itself is installed there by the
    same uv, from the files that the launcher brings.
    """
    head, worker = (node.address for node in bed.nodes)
    beside, here = sysconfig.get_path("purelib"), "~/stargan-ray/.venv"
    third = (
        f"ln -sf {BIN}/uv {here}/bin/uv && echo {beside} > $(echo {here}/lib/python3*/site-packages)/beside.pth &&"
        f' sed "1s|.*|#!$HOME/stargan-ray/.venv/bin/python|" {BIN}/ray > {here}/bin/ray && chmod +x {here}/bin/ray'
    )
    return changed(
        (ROOT / "cluster/local.yaml").read_text(),
        ("192.168.0.10", head),
        ("[192.168.0.11, 192.168.0.12]", f"[{worker}]"),
        ("ssh_user: ubuntu", "ssh_user: root"),
        ("python3 -m venv", f"{sys.base_prefix}/bin/python3 -m venv --without-pip"),
        ("python -m pip install --quiet uv==0.13.9", third),
        ("-c constraints.txt\n", "--offline --no-deps --no-build-isolation\n"),
    )


def test_it_comes_up_trains_on_both_machines_and_is_taken_down(owned: Bed, tmp_path: Path) -> None:
    bed, file = owned, tmp_path / "local.yaml"
    file.write_text(_local_yaml(bed))
    _ray(bed, "get-auth-token", "--generate")
    token = (bed.outside.home / ".ray/auth_token").read_text().strip()
    began = time.monotonic()
    _ray(bed, "up", "-y", str(file))
    wait_until(lambda: "\n 2 local.cluster.node\n" in _status(bed, file), 120, "both machines are in the cluster")
    print(f"s from `ray up` to two nodes: {time.monotonic() - began:.0f}")
    assert [open_ports(bed, node) for node in bed.nodes] == [{22}, {22}]

    bed.start("tunnel", bed.outside, ["ray", "dashboard", str(file)], _told(bed))
    wait_until(lambda: bed.ask(f"{_THERE}/api/version", _bearer(token))[0] == 200, 60, "the tunnel is open")
    for path in ("api/jobs/", "api/v0/nodes", "nodes?view=summary"):
        assert [bed.ask(f"{_THERE}/{path}", *header)[0] for header in ((), (_bearer("0" * 64),))] == [401, 403]
    _submit(bed, "jobs/ingest.py", "faces", "--out", bucket("faces"), *_SMALL)
    alone = ("--scale.num-workers", "2", "--scale.cpus-per-worker", str((os.cpu_count() or 2) - 1))  # of a machine
    flags = ("--data", bucket("faces"), "--storage", bucket("runs"), "--name", "first", *_SHORT)
    said = _submit(bed, "jobs/train.py", "expression-tiny", *flags, *alone, "--scale.cpus-per-reader", "1")
    assert f"checkpoint: {bucket('runs/first/checkpoints/step-00000006')}" in said
    _, body = bed.ask(f"{_THERE}/api/v0/tasks?detail=true&limit=1000", _bearer(token))
    tasks = json.loads(body)["data"]["result"]["result"]
    assert len({task["node_id"] for task in tasks if task["name"].startswith("RayTrainWorker")}) == 2
    bed.stop("tunnel")

    assert all(running(bed, node) for node in bed.nodes)
    began = time.monotonic()
    _ray(bed, "down", "-y", str(file))
    head, worker = bed.nodes
    wait_until(lambda: not running(bed, head), 30, "nothing runs on the head any more")
    print(f"s from `ray down` until nothing runs on the head: {time.monotonic() - began:.0f}", end="")
    wait_until(lambda: not running(bed, worker), 240, "nor on the worker, which has missed its head")
    print(f", on the worker: {time.monotonic() - began:.0f}")


def _ray(bed: Bed, *words: str) -> str:
    """What a command of Ray says to the user outside; it is one that succeeds."""
    done = bed.on(bed.outside, "ray", *words, timeout=300, **_told(bed))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _told(bed: Bed) -> dict[str, str]:
    """What cluster/README.md has the user export, and where the launcher keeps what it has read."""
    (bed.outside.home / "tmp").mkdir(exist_ok=True)
    return {"RAY_AUTH_MODE": "token", "RAY_UP_enable_autoscaler_v2": "0", "TMPDIR": str(bed.outside.home / "tmp")}


def _status(bed: Bed, file: Path) -> str:
    """What the cluster says of itself."""
    return _ray(bed, "exec", str(file), "RAY_AUTH_MODE=token ~/stargan-ray/.venv/bin/ray status").replace("\r", "")


def _submit(bed: Bed, *job: str) -> str:
    """Run a job through the tunnel to its end; what it has printed."""
    environment = {"env_vars": {name: value for name, value in bed.told.items() if name.startswith("AWS_")}}
    where = ("--address", _THERE, "--working-dir", str(ROOT), "--runtime-env-json", json.dumps(environment))
    return _ray(bed, "job", "submit", *where, "--", "python", *job)


def _bearer(token: str) -> str:
    """The header by which somebody shows a token."""
    return f"Authorization: Bearer {token}"
