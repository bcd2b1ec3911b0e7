"""Machines on one machine: each a network namespace behind a bridge, or, without the right to make one, an address.

In a namespace a machine has an interface with a name of its own, its own ports, its own processes and its own
/tmp/ray, as it has where it stands by itself. Nothing of it is reached from the network of the host.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "bed"  # of the namespaces' names: bed-PID-MACHINE
_SUBNET = "10.77.0"
# A process ends when the test's process does, however that ends.
TIED = ("setpriv", "--pdeathsig", "KILL")


@dataclass(frozen=True)
class Machine:
    """One of them.

    Attributes:
        name: of the machine.
        address: by which the others reach it.
        interface: that has the address; every machine calls it otherwise.
        home: folder of its user, and of what it writes under /tmp/ray.
        namespace: of its network; empty = it is an address of the host's loopback.
    """

    name: str
    address: str
    interface: str
    home: Path
    namespace: str

    def enter(self, *command: str) -> list[str]:
        """A command as it is run there; when the process that this starts is killed, all that it started goes too."""
        if not self.namespace:
            return [*TIED, *command]
        own = ["ip", "netns", "exec", self.namespace, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        private = ["sh", "-c", 'mount --bind "$0" /tmp/ray && exec "$@"', str(self.home / "ray")]
        return [*TIED, *own, *private, *command]


@contextlib.contextmanager
def machines(names: Sequence[str], folder: Path) -> Iterator[list[Machine]]:
    """Machines that reach each other, taken away at the end; the first holds the bridge and is a router's place.

    Args:
        names: of them, a few letters each.
        folder: for their homes.
    """
    separate = _may_separate() and os.environ.get("STARGAN_BED") != "loopback"
    made = []
    for number, name in enumerate(names, 1):
        home = folder / name
        (home / "ray").mkdir(parents=True)
        if separate:
            namespace = f"{_PREFIX}-{os.getpid()}-{name}"
            made.append(Machine(name, f"{_SUBNET}.{number}", f"{name[:6]}{number}", home, namespace))
        else:
            made.append(Machine(name, f"127.0.0.{number + 1}", "lo", home, ""))
    try:
        if separate:
            _sweep()
            Path("/tmp/ray").mkdir(exist_ok=True)
            _wire(made)
        yield made
    finally:
        for machine in made:
            if machine.namespace:
                _ip("netns", "delete", machine.namespace, check=False)


def _wire(made: Sequence[Machine]) -> None:
    hub = made[0]
    for machine in made:
        _ip("netns", "add", machine.namespace)
        _ip("-n", machine.namespace, "link", "set", "lo", "up")
    _ip("-n", hub.namespace, "link", "add", hub.interface, "type", "bridge")
    for machine in made[1:]:
        port, there = f"to-{machine.name}", machine.interface
        _ip("-n", hub.namespace, "link", "add", port, "type", "veth", "peer", "name", there, "netns", machine.namespace)
        _ip("-n", hub.namespace, "link", "set", port, "master", hub.interface, "up")
    for machine in made:
        _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", machine.interface)
        _ip("-n", machine.namespace, "link", "set", machine.interface, "up")


def _may_separate() -> bool:
    """Whether namespaces can be made here: it takes root, and a kernel that lets it."""
    if os.geteuid() != 0:
        return False
    name = f"{_PREFIX}-{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    _ip("netns", "delete", name)
    return True


def _sweep() -> None:
    """Take away what a test process that was killed has left."""
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0]
        words = name.split("-")
        if len(words) == 3 and words[0] == _PREFIX and words[1].isdigit() and not Path("/proc", words[1]).exists():
            _ip("netns", "delete", name, check=False)


def _ip(*words: str, check: bool = True) -> str:
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout
