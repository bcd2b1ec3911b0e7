"""AWS's notice that it takes this machine away becomes a drain of this node of Ray.

What AWS is asked: docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html. Ray Train
hears of a drain (``ray_worker.py``) and stops. It is told by Ray's own command line, as a program of its own: this one
waits for days and has no need of Ray in its memory.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from stargan_ray.errors import InputError

_ENDPOINT = "http://169.254.169.254"  # AWS's metadata service; each machine has its own behind this address
_TOKEN_S = 21_600
_TIMEOUT_S, _TRIES = 2.0, 3
_UNREACHABLE = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Node:
    """A node of Ray on this machine: its id, the cluster's address, and the process that is gone when the node is."""

    identity: str
    cluster: str
    raylet: psutil.Process


class Metadata:
    """What AWS tells a machine of itself, asked as its second version wants it: with a token that is asked for first.

    Attributes:
        url: of the service; AWS_EC2_METADATA_SERVICE_ENDPOINT is another, as for AWS's own programs.
    """

    def __init__(self) -> None:
        self.url = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _ENDPOINT).rstrip("/")
        self._token = ""
        # Never by a proxy: that would be told of another machine.
        self._door = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str) -> str:
        """A text below /latest/meta-data, empty where there is none.

        Raises:
            OSError: nobody answers, or not with what was asked for.
        """
        for _ in range(2):
            header = {"X-aws-ec2-metadata-token": self._token or self._renew()}
            try:
                return self._send(urllib.request.Request(f"{self.url}/latest/meta-data/{path}", headers=header))
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return ""
                if error.code != 401:
                    raise
                self._token = ""  # it has run out
        raise OSError("tokens are not taken")

    def _renew(self) -> str:
        header = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
        self._token = self._send(urllib.request.Request(f"{self.url}/latest/api/token", method="PUT", headers=header))
        return self._token

    def _send(self, request: urllib.request.Request) -> str:
        with self._door.open(request, timeout=_TIMEOUT_S) as answer:
            return answer.read().decode()


def watch(address: str = "", every_s: float = 5.0, rebalance: bool = False) -> None:
    """Ask until the node is drained or gone; each thing that happens is a line on stdout.

    Args:
        address: of the node, where several run on this machine.
        every_s: seconds between two questions.
        rebalance: drain on a mere recommendation to rebalance too, without a deadline.

    Raises:
        InputError: not one node of Ray runs here, or several and none or no one is named.
    """
    node, metadata = local_node(address), Metadata()
    if why := _unreachable(metadata):
        print(f"no notices: {metadata.url} is no metadata service of AWS ({why})", flush=True)
        return
    print(f"node {node.identity[:8]} will be drained when {metadata.url} has a notice", flush=True)
    said: set[str] = set()
    while node.raylet.is_running() and node.raylet.status() != psutil.STATUS_ZOMBIE:
        line = _look(metadata, node, rebalance)
        if line and line not in said:
            print(line, flush=True)
            said.add(line)
        if line.startswith("drained"):
            return
        time.sleep(every_s)


def local_node(address: str = "") -> Node:
    """The node of Ray on this machine.

    Raises:
        InputError: there is none, or several and none or no one is named.
    """
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or [""]
        if Path(command[0]).name == "raylet":
            flags = dict(word[2:].split("=", 1) for word in command[1:] if word.startswith("--") and "=" in word)
            if address in ("", flags["node_ip_address"]):
                found.append(Node(flags["node_id"], flags["gcs-address"], process))
    if len(found) != 1:
        who = f"with the address {address} " if address else ""
        raise InputError(f"{len(found)} nodes of Ray {who}run on this machine: allowed is one, see --address")
    return found[0]


def _unreachable(metadata: Metadata) -> str:
    """Why nobody answers, or nothing."""
    why = ""
    for attempt in range(_TRIES):
        time.sleep(attempt)  # a network that is only coming up
        try:
            metadata.ask("instance-id")
        except _UNREACHABLE as error:
            why = " ".join(str(error).split())
        else:
            return ""
    return why


def _look(metadata: Metadata, node: Node, rebalance: bool) -> str:
    """Ask once and do what there is to do; what to say of it."""
    try:
        if action := metadata.ask("spot/instance-action"):
            told = json.loads(action)
            left = (datetime.fromisoformat(told["time"]) - datetime.now(UTC)).total_seconds()
            return _drain(node, f"spot machine: {told['action']} at {told['time']}", max(int(left), 0))
        if advice := metadata.ask("events/recommendations/rebalance"):
            said = f"AWS advises to rebalance, {advice.strip()}"
            return _drain(node, said, None) if rebalance else said
    except (*_UNREACHABLE, KeyError, TypeError) as error:
        return f"{metadata.url} does not answer as it should ({' '.join(str(error).split())}); it is asked again"
    return ""


def _drain(node: Node, why: str, left_s: int | None) -> str:
    """Tell Ray's head that the node will be gone; a line that begins with "drained" if it takes it."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", node.cluster]
    command += ["--node-id", node.identity, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", why]
    if left_s is not None:
        command += ["--deadline-remaining-seconds", str(left_s)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return f"{why}: Ray's head does not answer; it is told again"
    if done.returncode == 0:
        within = "" if left_s is None else f", {left_s} s ahead"
        return f"drained{within}: {why}"
    return f"{why}: not drained, {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}"
