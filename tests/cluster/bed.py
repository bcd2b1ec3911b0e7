"""A test bed: a Ray cluster of real ``ray start`` processes on machines of their own, an S3 server and MLflow.

A job is submitted from a machine that is no part of the cluster and holds no secret but the cluster's token. Keys of
the bucket and the account at MLflow are in the nodes' environment, as Kubernetes puts them there.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from bed_door import door_command
from bed_network import Machine, machines
from bed_services import ADMIN, BUCKET, JOBS, S3_KEYS, mlflow_command, mlflow_environment, s3_command

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
_GCS, _DASHBOARD, S3, _S3_DOOR, _MLFLOW = 6379, 8265, 9000, 9001, 5000
_OBJECTS = 120_000_000  # bytes of a node's object store
_START_S = 180.0
_ASK = """
import sys, urllib.error, urllib.request
url, data, *headers = sys.argv[1:]
request = urllib.request.Request(url, data.encode() or None, dict(each.split(": ", 1) for each in headers))
try:
    with urllib.request.urlopen(request, timeout=20) as answer:
        print(answer.status, answer.read().decode(errors="replace"))
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(errors="replace"))
"""


@dataclass(frozen=True)
class Submitted:
    """A job that has ended: the status of ``ray job submit``, what it printed, seconds."""

    status: int
    said: str
    seconds: float


@dataclass
class Bed:
    """A cluster that runs.

    Attributes:
        outside: machine from which it is used; S3 and MLflow are there too.
        nodes: of the cluster, the head first.
        folder: for logs and what the servers keep.
        token: of the cluster.
        cpus: of each node, in their order.
        s3_port: at which jobs are told that S3 is.
        processes: that run, by the name of what they are.
    """

    outside: Machine
    nodes: list[Machine]
    folder: Path
    token: str
    cpus: tuple[int, ...]
    s3_port: int = S3
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def dashboard(self) -> str:
        """URL of the dashboard and the job server."""
        return f"http://{self.nodes[0].address}:{_DASHBOARD}"

    @property
    def mlflow(self) -> str:
        """URL of MLflow."""
        return f"http://{self.outside.address}:{_MLFLOW}"

    @property
    def told(self) -> dict[str, str]:
        """What a job is told by its runtime_env; the dashboard shows it."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.outside.address}:{self.s3_port}",
            "AWS_REGION": "us-east-1",
            "MLFLOW_TRACKING_URI": self.mlflow,
        }

    def submit(self, *job: str, timeout: float = 900.0) -> Submitted:
        """Run ``ray job submit --working-dir . -- python jobs/…`` until the job has ended."""
        begun = time.monotonic()
        done = self.on(self.outside, *self._submission(*job), timeout=timeout)
        return Submitted(done.returncode, done.stdout + done.stderr, time.monotonic() - begun)

    def begin(self, name: str, *job: str) -> subprocess.Popen[bytes]:
        """Submit a job and go on; ``log(name)`` is what it says."""
        self.start(name, self.outside, self._submission(*job), {})
        return self.processes[name]

    def _submission(self, *job: str) -> list[str]:
        environment = json.dumps({"env_vars": self.told})
        command = [str(BIN / "ray"), "job", "submit", "--address", self.dashboard, "--working-dir", str(ROOT)]
        return [*command, "--runtime-env-json", environment, "--", "python", *job]

    def on(
        self, machine: Machine, *command: str, timeout: float = 120.0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a machine, with what the machine's user has in his environment and ``more``."""
        environment = {**self._environment(machine), **more}
        entered = machine.enter(*command)
        if machine.namespace and machine.name in self.processes:  # beside Ray: among its processes, with its /tmp/ray
            init = psutil.Process(self.processes[machine.name].pid).children()[0].pid
            entered = ["nsenter", f"--target={init}", "--mount", "--net", "--pid", f"--wd={ROOT}", *command]
        return subprocess.run(entered, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout)

    def ask(self, url: str, *headers: str, data: str = "") -> tuple[int, str]:
        """GET from outside the cluster, or POST of JSON: status and body."""
        kind = ["Content-Type: application/json"] if data else []
        done = self.on(self.outside, sys.executable, "-c", _ASK, url, data, *kind, *headers)
        assert done.returncode == 0, done.stderr
        status, _, body = done.stdout.partition(" ")
        return int(status), body

    def alive(self) -> int:
        """Nodes that the head knows as alive; 0 while it does not answer."""
        with contextlib.suppress(AssertionError, ValueError, KeyError, TypeError):
            _, body = self.ask(f"{self.dashboard}/api/v0/nodes", f"Authorization: Bearer {self.token}")
            return sum(node["state"] == "ALIVE" for node in json.loads(body)["data"]["result"]["result"])
        return 0

    def start_s3(self) -> None:
        """Start the S3 server, empty."""
        self.start("s3", self.outside, s3_command(self.outside.address, S3), S3_KEYS)

    def start_door(self) -> None:
        """From now on jobs are told of a door to S3, which can end while S3 keeps what it has."""
        self.s3_port = _S3_DOOR
        self.start("door", self.outside, door_command(self.outside.address, _S3_DOOR, S3), {})

    def start_mlflow(self) -> None:
        """Start MLflow, with what it kept."""
        place = self.folder / "mlflow"
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = mlflow_command(self.outside.address, _MLFLOW, place)
        self.start("mlflow", self.outside, command, mlflow_environment(place) | path)

    def start_node(self, node: Machine, *flags: str, **more: str) -> None:
        """Start Ray on a node, with further flags and variables; the first is the head."""
        head, place = self.nodes[0], self.nodes.index(node)
        command = [str(BIN / "ray"), "start", "--block", f"--node-ip-address={node.address}"]
        command += [f"--num-cpus={self.cpus[place]}", f"--object-store-memory={_OBJECTS}", "--disable-usage-stats"]
        if node is head:
            command += ["--head", f"--port={_GCS}", f"--dashboard-host={head.address}"]
        else:
            command += [f"--address={head.address}:{_GCS}"]
        if not node.namespace:  # what has one place on a machine
            command += [f"--dashboard-agent-listen-port={52365 + place}", f"--temp-dir={node.home / 'ray'}"]
        self.start(node.name, node, [*command, *flags], more)

    def stop(self, name: str) -> None:
        """End a process and all that it has started, at once, as a machine ends that loses its power."""
        process = self.processes.pop(name)
        tree = [process.pid]
        with contextlib.suppress(psutil.NoSuchProcess):
            tree += [each.pid for each in psutil.Process(process.pid).children(recursive=True)]
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait()
        wait_until(lambda: not any(map(_runs, tree)), 30, f"{name} has ended")

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, machine: Machine, command: list[str], more: dict[str, str]) -> None:
        """Start a process on a machine, with further variables; ``log(name)`` is what it prints."""
        environment = {**self._environment(machine), **more}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                machine.enter(*command), env=environment, cwd=machine.home, stdout=log, stderr=log
            )

    def _environment(self, machine: Machine) -> dict[str, str]:
        own = {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(machine.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),  # the package, as it is installed on a node
            "RAY_AUTH_MODE": "token",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        if machine is self.outside:
            return own
        return own | {
            "GLOO_SOCKET_IFNAME": machine.interface,
            "AWS_EC2_METADATA_DISABLED": "true",
            "MLFLOW_TRACKING_USERNAME": JOBS[0],
            "MLFLOW_TRACKING_PASSWORD": JOBS[1],
            "OMP_NUM_THREADS": "1",
            "RAY_memory_monitor_refresh_ms": "0",  # it counts the whole machine, which is all nodes
            **S3_KEYS,
        }


@contextlib.contextmanager
def cluster(folder: Path, cpus: tuple[int, ...] = (2, 2, 2)) -> Iterator[Bed]:
    """A bed that is ready; all of it is gone at the end.

    Args:
        folder: for all that it writes.
        cpus: that each node offers, the head first; they are only counted.
    """
    token = secrets.token_hex(32)
    names = ["out", "head", *(f"node{number}" for number in range(1, len(cpus)))]
    with machines(names, folder) as (outside, *nodes):
        for machine in (outside, *nodes):
            (machine.home / ".ray").mkdir()
            (machine.home / ".ray/auth_token").write_text(token)
        bed = Bed(outside, nodes, folder, token, cpus)
        try:
            bed.start_s3()
            bed.start_mlflow()
            bed.start_node(nodes[0])
            wait_until(lambda: bed.alive() >= 1, _START_S, "the head answers")
            for node in nodes[1:]:
                bed.start_node(node)
            wait_until(lambda: bed.alive() == len(nodes), _START_S, "all nodes are there")
            wait_until(lambda: bed.ask(f"{bed.mlflow}/health")[0] == 200, _START_S, "MLflow answers")
            _make_account(bed)
            yield bed
        finally:
            for name in list(bed.processes):
                bed.stop(name)
            for machine in (outside, *nodes):
                shutil.rmtree(machine.home / "ray", ignore_errors=True)


def bucket(path: str) -> str:
    """URI of a place in the bed's bucket."""
    return f"s3://{BUCKET}/{path}"


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition; a failed test says for what it waited."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(AssertionError):
            if true():
                return
        time.sleep(0.3)
    raise TimeoutError(f"after {seconds:g} s it is not so that {what}")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _make_account(bed: Bed) -> None:
    """The account of the jobs, as k8s/README.md makes it."""
    account = json.dumps({"username": JOBS[0], "password": JOBS[1]})
    status, said = bed.ask(f"{bed.mlflow}/api/2.0/mlflow/users/create", basic(*ADMIN), data=account)
    assert status == 200, said


def basic(user: str, password: str) -> str:
    """The header by which a user says who he is."""
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
