"""Whether something finds room on a cluster, node by node: known before it starts, where Ray would wait in silence.

Where machines come and go, they are asked for, and waited for within a limit.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stargan_ray.errors import InputError

WAIT = "STARGAN_WAIT_FOR_NODES_S"
_WAIT_S = 600.0  # for machines of a cloud, image and driver included
_POLL_S = 1.0
# On every node that a launcher or an operator has started: `ray up`, KubeRay. By hand nobody names a group.
_GROUP = "ray.io/node-group"
_EPSILON = 1e-6  # CPUs are fractions


@dataclass(frozen=True)
class Node:
    """What a node offers in all, free or not: CPUs and GPUs."""

    cpus: float
    gpus: float = 0


@dataclass(frozen=True)
class Need:
    """What must be there at the same time.

    Attributes:
        who: needs it and how to need less; the start of the error.
        processes: that are alike, each on one node.
        cpus, gpus: of each of them.
        reader_cpus: of a task that must run beside them, wherever Ray puts them; 0 = there is none.
        readers: such tasks that are to have CPUs at the same time; the first must have them on one node.
    """

    who: str
    processes: int
    cpus: float
    gpus: int = 0
    reader_cpus: float = 0
    readers: int = 1

    def lacks(self, nodes: Sequence[Node]) -> str:
        """What is missing on some nodes; empty when all has room."""
        there = sum(node.cpus for node in nodes)
        needed = self.processes * self.cpus + self.readers * self.reader_cpus
        if there + _EPSILON < needed:
            return f"{needed:g} CPUs are needed, the Ray cluster has {there:g}"
        gpus = sum(node.gpus for node in nodes)
        if gpus < self.processes * self.gpus:
            return f"{self.processes * self.gpus} GPUs are needed, the Ray cluster has {gpus:g}"
        room = [self._fit(node) for node in nodes]
        if sum(room) < self.processes:
            each = f"{self.cpus:g} CPUs" + (f" and {self.gpus} GPUs" if self.gpus else "")
            return (
                f"{self.processes} times {each} are needed, each on one node; the Ray cluster has room for {sum(room)} "
                f"({_listed(nodes)})"
            )
        if self.reader_cpus and self._may_block(nodes, room):
            return (
                f"{self.processes} times {self.cpus:g} CPUs may be placed so that no node keeps {self.reader_cpus:g} "
                f"for a reader, and they would wait for ever ({_listed(nodes)})"
            )
        return ""

    def _fit(self, node: Node) -> int:
        """How many of the processes a node can hold."""
        held = math.floor((node.cpus + _EPSILON) / self.cpus)
        return min(held, int(node.gpus // self.gpus)) if self.gpus else held

    def _may_block(self, nodes: Sequence[Node], room: Sequence[int]) -> bool:
        """Whether the processes can be spread so that a reader has room nowhere: it is Ray that spreads them."""
        blocking = 0
        for node, most in zip(nodes, room, strict=True):
            spare = node.cpus - self.reader_cpus + _EPSILON
            fewest = 0 if spare < 0 else math.floor(spare / self.cpus) + 1  # that leave too little for it
            if fewest > most:
                return False
            blocking += fewest
        return blocking <= self.processes

    def bundles(self) -> list[dict[str, float]]:
        """The same for Ray's autoscaler."""
        each: dict[str, float] = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        return [each] * self.processes + ([{"CPU": self.reader_cpus}] * self.readers if self.reader_cpus else [])


def nodes_now() -> list[Node]:
    """The nodes of the cluster that this process is connected to."""
    import ray

    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(float(each.get("CPU", 0)), float(each.get("GPU", 0))) for each in has]


def cpus_now() -> int:
    """Whole CPUs of all nodes; 0 when there are only a head without any."""
    return sum(int(node.cpus) for node in nodes_now())


def require_room(need: Need) -> None:
    """Fail now where Ray would wait without a word; where an autoscaler is, ask it and wait first.

    Raises:
        InputError: there is no room, or still none after the time of STARGAN_WAIT_FOR_NODES_S (600 s where a launcher
            or KubeRay has started the cluster, else none).
    """
    lacking = need.lacks(nodes_now())
    if lacking and (seconds := _patience()):
        lacking = _wait_for(need, seconds)
    if lacking:
        raise InputError(f"{need.who}: {lacking}")


def _wait_for(need: Need, seconds: float) -> str:
    """Ask the autoscaler for room, and wait for it; what is missing at the end."""
    from ray.autoscaler.sdk import request_resources

    end, told = time.monotonic() + seconds, ""
    request_resources(bundles=need.bundles())
    try:
        while (lacking := need.lacks(nodes_now())) and time.monotonic() < end:
            if lacking != told:
                print(f"waiting for machines, at most {seconds:g} s ({WAIT}): {lacking}", file=sys.stderr, flush=True)
                told = lacking
            time.sleep(_POLL_S)
    finally:
        # A request holds until the next one: what is not used from now on may go when it has been idle for long.
        request_resources(bundles=[])
    return f"{lacking} after {seconds:g} s ({WAIT})" if lacking else ""


def _patience() -> float:
    """Seconds that machines are waited for."""
    given = os.environ.get(WAIT, "")
    if given:
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            raise InputError(f"{WAIT} = {given}: allowed are seconds >= 0")
        return seconds
    import ray

    grows = any(_GROUP in node.get("Labels", {}) for node in ray.nodes() if node["Alive"])
    return _WAIT_S if grows else 0.0


def _listed(nodes: Sequence[Node]) -> str:
    """The nodes in words: 2 × 4 CPUs, 1 × 0 CPUs."""
    kinds: dict[str, int] = {}
    for node in sorted(nodes, key=lambda node: (-node.gpus, -node.cpus)):
        kind = f"{node.cpus:g} CPUs" + (f" and {node.gpus:g} GPUs" if node.gpus else "")
        kinds[kind] = kinds.get(kind, 0) + 1
    return ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
