"""Machines that are nothing but ssh at first: what `ray up` finds where somebody owns machines.

Each has a name, a user's home, an sshd with a host key of its own (Debian's openssh-server), and the firewall of
cluster/README.md (nftables), which lets in its fellows, and from elsewhere ssh alone.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from bed import ROOT, Bed, wait_until
from bed_network import TIED, Machine, machines

# The user's home is one in a list of users of the machine's own: what asks for it by `~` and what asks for it by the
# user's number find the same, and neither finds that of whoever runs the tests.
_MACHINE = """
hostname "$1" && mount --bind "$2/ray" /tmp/ray && mount --bind "$2/etc/passwd" /etc/passwd
mount --bind "$2/etc/hosts" /etc/hosts && mount -t tmpfs tmpfs /run && mkdir /run/sshd && mount -t tmpfs tmpfs /var/log
touch /var/log/lastlog
shift 2 && exec "$@"
"""
_SSHD = """
Port 22
ListenAddress {address}
HostKey {home}/etc/host_key
AuthenticationMethods publickey
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
"""
# The out-of-memory monitor counts the whole machine, which is all of them.
_PROFILE = "export RAY_memory_monitor_refresh_ms=0\n"
_OPEN = """
import errno, selectors, socket, sys
found, ports = [], iter(range(1, 65536))
while batch := [port for _, port in zip(range(800), ports)]:
    with selectors.DefaultSelector() as waiting:
        for port in batch:
            one = socket.socket()
            one.setblocking(False)
            if one.connect_ex((sys.argv[1], port)) in (0, errno.EINPROGRESS):
                waiting.register(one, selectors.EVENT_WRITE, port)
        while ready := waiting.select(0.2):
            for key, _ in ready:
                if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    found.append(key.data)
                waiting.unregister(key.fileobj)
                key.fileobj.close()
        for key in list(waiting.get_map().values()):
            key.fileobj.close()
print(*found)
"""


@dataclass(frozen=True)
class Host(Machine):
    """A machine with a name and users of its own."""

    def enter(self, *command: str) -> list[str]:
        """A command as it is run there, as Machine says."""
        own = ["ip", "netns", "exec", self.namespace, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        return [*TIED, *own, "--uts", "sh", "-ec", _MACHINE, "sh", self.name, str(self.home), *command]


@contextlib.contextmanager
def ssh_machines(folder: Path, count: int) -> Iterator[Bed]:
    """Machines to which the first, outside, has a key; ``bed.nodes`` are they, with nothing of Ray on them.

    A test is skipped where they cannot be had.

    Args:
        folder: for their homes.
        count: of those that answer to ssh.
    """
    if said := _lacking():
        pytest.skip(said)
    with machines(["out", *(f"own{number}" for number in range(1, count + 1))], folder) as made:
        if not made[0].namespace:
            pytest.skip("machines with an sshd each take namespaces, so root")
        outside, *nodes = (Host(**vars(machine)) for machine in made)
        for machine in (outside, *nodes):
            _settle(machine)
        bed = Bed(outside, list(nodes), folder, "", (0,) * count)  # a token and CPUs are Ray's, and there is none yet
        try:
            _give_key(bed)
            for node in nodes:
                _firewall(node, [each.address for each in nodes])
                _start_sshd(bed, node)
            yield bed
        finally:
            for name in list(bed.processes):
                bed.stop(name)


def open_ports(bed: Bed, machine: Machine) -> set[int]:
    """Ports of a machine at which somebody from outside gets an answer."""
    done = bed.on(bed.outside, sys.executable, "-c", _OPEN, machine.address, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(map(int, done.stdout.split()))


def running(bed: Bed, machine: Machine) -> list[str]:
    """Commands of all processes of a machine but its sshd."""
    own = psutil.Process(bed.processes[machine.name].pid).children(recursive=True)
    found = []
    for process in own:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE and process.name() != "sshd":
                found.append(" ".join(process.cmdline()))
    return found


def changed(text: str, *changes: tuple[str, str]) -> str:
    """A text with each place replaced; every place is there."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def _lacking() -> str:
    """What such machines need and this one has not; else nothing."""
    programs = {"/usr/sbin/sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "nft": "nftables"}
    without = [package for program, package in programs.items() if not shutil.which(program)]
    return f"it takes Debian's {', '.join(without)}" if without else ""


def _settle(machine: Host) -> None:
    """Users, names and a shell's start, as Debian sets a machine up."""
    (machine.home / "etc").mkdir()
    (machine.home / "etc/passwd").write_text(
        f"root:x:0:0:root:{machine.home}:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        "sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    (machine.home / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n")
    (machine.home / ".profile").write_text(_PROFILE)
    (machine.home / ".bashrc").touch()


def _give_key(bed: Bed) -> None:
    """A key pair of the user outside, who may come in with it everywhere."""
    private = bed.outside.home / ".ssh/id_ed25519"
    _make_key(private)
    for node in bed.nodes:
        (node.home / ".ssh").mkdir(mode=0o700)
        shutil.copyfile(private.with_suffix(".pub"), node.home / ".ssh/authorized_keys")


def _make_key(place: Path) -> None:
    place.parent.mkdir(mode=0o700, exist_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bed", "-f", str(place)]
    subprocess.run(command, check=True, capture_output=True)


def _firewall(node: Host, fellows: list[str]) -> None:
    """What cluster/README.md says, with the addresses of these machines."""
    lines = (ROOT / "cluster/README.md").read_text().splitlines()
    rules = "\n".join(line for line in lines if line.startswith("nft "))
    rules = changed(rules, ("192.168.0.10, 192.168.0.11, 192.168.0.12", ", ".join(fellows)))
    subprocess.run(["ip", "netns", "exec", node.namespace, "sh", "-ec", rules], check=True, capture_output=True)


def _start_sshd(bed: Bed, node: Host) -> None:
    _make_key(node.home / "etc/host_key")
    config = node.home / "etc/sshd_config"
    config.write_text(_SSHD.format(address=node.address, home=node.home))
    bed.start(node.name, node, ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], {})
    key = str(bed.outside.home / ".ssh/id_ed25519")
    knock = ["ssh", "-i", key, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"]
    knock += ["-o", "UserKnownHostsFile=/dev/null", f"root@{node.address}", "hostname"]
    wait_until(lambda: bed.on(bed.outside, *knock).stdout == f"{node.name}\n", 30, f"{node.name} answers to ssh")
