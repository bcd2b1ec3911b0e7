"""Rules for the Dockerfile, for secrets in texts, for Ray's command line; and what node.sh tells a node.

pytest tests/cluster_config/test_image_and_texts.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from checking.dockerfile import dockerfile_faults
from checking.ray_commands import ray_command_faults
from checking.secrets import text_faults

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nvidia/cuda:13.0.1-base-ubuntu24.04", "nvidia/cuda", "no fixed version"),
        ("python:3.12.11-slim-bookworm", "python:latest", "no fixed version"),
        ("USER 1000:1000\nCMD", "CMD", "USER root"),
        ("USER 1000:1000", "USER stargan", "USER stargan: allowed is a number"),
        ("HOME=/home/stargan", "HERE=/home/stargan", "ENV HOME"),
        ("COPY jobs ./jobs", "COPY . .", "COPY of the whole folder"),
        ("COPY jobs ./jobs", "ADD https://example.org/x /x", "ADD: allowed is COPY"),
        ("uv==0.13.9", "uv", "allowed is -c constraints.txt"),
        ("--compile-bytecode -c constraints.txt", "--compile-bytecode", "allowed is -c constraints.txt"),
    ],
)
def test_a_fault_in_the_dockerfile_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = (ROOT / "cluster/Dockerfile").read_text()
    assert old in text
    (tmp_path / "cluster").mkdir()
    (tmp_path / ".dockerignore").write_text("*\n")
    file = tmp_path / "cluster/Dockerfile"
    file.write_text(text.replace(old, new))
    faults = list(dockerfile_faults(file, "cluster/Dockerfile"))
    assert any(said in f.what and f.field.startswith("line ") for f in faults), [str(f) for f in faults]


def test_without_a_dockerignore_the_whole_folder_would_travel(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    file = tmp_path / "cluster/Dockerfile"
    file.write_text((ROOT / "cluster/Dockerfile").read_text())
    assert [fault.file for fault in dockerfile_faults(file, "cluster/Dockerfile")] == [".dockerignore"]


def test_all_that_the_dockerfile_copies_is_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set()
    for line in (ROOT / "cluster/Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            copied |= {name.removeprefix("./") for name in line.split()[1:-1]}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(
    "line",
    [
        "aws_key: AKIA" + "ABCDEFGHIJKLMNOP",
        "-----BEGIN " + "PRIVATE KEY-----",
        "uri: postgresql://mlflow:hunter2@postgres/mlflow",
        "  - --env AWS_SECRET_ACCESS_KEY=abc",
        "export RAY_AUTH_TOKEN=0123456789",
        "kubectl create secret generic x --from-literal=password=hunter2",
    ],
)
def test_a_secret_in_a_text_is_found(line: str) -> None:
    assert [(f.file, f.field) for f in text_faults("x.yaml", f"first\n{line}\n")] == [("x.yaml", "line 2")]


@pytest.mark.parametrize(
    "line",
    [
        'uri="postgresql+psycopg://mlflow:$database@postgres:5432/mlflow"',
        'export RAY_AUTH_TOKEN="$(kubectl get secret ray-token)"',
        "--env RAY_AUTH_TOKEN_PATH=/run/token",
        'kubectl create secret generic x --from-literal=password="$password"',
    ],
)
def test_a_reference_is_no_secret(line: str) -> None:
    assert list(text_faults("x.yaml", line)) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ray up cluster/gpu.yaml --no-restart", ""),
        ("ray up cluster/gpu.yaml --norestart", "No such option"),
        ("ray jobs list", "there is no ray jobs"),
        ("timeout 120 ray job stop --adress x y", "No such option"),
    ],
)
def test_a_command_of_ray_is_read_by_ray(line: str, said: str) -> None:
    faults = [fault.what for fault in ray_command_faults("README.md", f"```\n{line}\n```")]
    assert len(faults) == bool(said)
    assert said in "".join(faults)


IP = """#!/bin/sh
case "$*" in
*"route get 10.0.0.1") echo "10.0.0.1 via 10.0.7.1 dev ens5 src 10.0.7.3 uid 0" ;;
*"route get 10.0.7.3") echo "local 10.0.7.3 dev lo src 10.0.7.3 uid 0" ;;
*"addr show") printf '1: lo    inet 127.0.0.1/8 scope host lo\\n2: ens5    inet 10.0.7.3/24 scope global ens5\\n' ;;
*) exit 1 ;;
esac
"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A home folder, and an ``ip`` that knows of one network."""
    ip = tmp_path / "ip"
    ip.write_text(IP)
    ip.chmod(0o755)
    return tmp_path


def sourced(node: Path, command: str) -> subprocess.CompletedProcess[str]:
    told = (
        '&& echo "$NODE_IP $GLOO_SOCKET_IFNAME $NCCL_SOCKET_IFNAME $RAY_AUTH_MODE ${OMP_NUM_THREADS-free} ${PATH%%:*}"'
    )
    environment = {"PATH": f"{node}:{os.environ['PATH']}", "HOME": str(node), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-c", f"{command} {told}"], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("10.0.0.1", "10.0.7.3 ens5 ens5"),  # a worker, which is told where the head is
        ("10.0.7.3", "10.0.7.3 ens5 ens5"),  # the head itself: the route to its own address is by lo
        ("", "  "),  # a head that trains nothing: its interface is not to travel with the jobs
    ],
)
def test_a_node_learns_its_address_and_its_interface(given: str, said: str, node: Path) -> None:
    done = sourced(node, f". cluster/node.sh {given}")
    assert (done.stdout, done.stderr) == (f"{said} token free {node}/stargan-ray/.venv/bin\n", "")


def test_without_a_route_ray_is_not_started(node: Path) -> None:
    done = sourced(node, ". cluster/node.sh 10.9.9.9")
    assert done.stdout == ""
    assert done.stderr == "node.sh: no route to 10.9.9.9 from here: correct the address in the cluster's YAML\n"
