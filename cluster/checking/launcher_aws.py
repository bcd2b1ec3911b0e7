"""What a launcher's file for AWS must hold beyond Ray's schema: cost, rights, open ports, the container."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from checking.faults import Fault


def aws_faults(config: dict[str, Any], shown: str) -> Iterator[Fault]:
    """Faults of a file for AWS that Ray has accepted."""
    yield from _cost(config, shown)
    yield from _ports(config["provider"], shown)
    yield from _container(config.get("docker", {}), shown)
    yield from _notice(config, shown)
    for name, kind in config["available_node_types"].items():
        yield from _machine(shown, f"available_node_types.{name}.node_config", kind["node_config"])


def _cost(config: dict[str, Any], shown: str) -> Iterator[Fault]:
    if config["provider"].get("cache_stopped_nodes") is not False:
        yield Fault(shown, "provider.cache_stopped_nodes", "allowed is false: stopped machines cost for their disks")
    for key in ("max_workers", "idle_timeout_minutes"):
        if not config.get(key):
            yield Fault(shown, key, f"{config.get(key)}: allowed is a number above 0; it bounds the cost")
    types, head = config["available_node_types"], config["head_node_type"]
    if _spot(types[head]):
        yield Fault(shown, f"available_node_types.{head}", "a spot machine as the head would take the cluster with it")
    gpus = {name: kind for name, kind in types.items() if kind["resources"].get("GPU")}
    if not gpus:
        yield Fault(shown, "available_node_types", "none has resources: {GPU: …}")
    if gpus and {_spot(kind) for kind in gpus.values()} != {True, False}:
        yield Fault(shown, "available_node_types", "allowed are GPU machines on spot and others on demand")
    for name, kind in gpus.items():
        if "max_workers" not in kind:
            yield Fault(shown, f"available_node_types.{name}.max_workers", "is not there; it bounds the cost")
    if sum(kind.get("min_workers", 0) for kind in types.values()) > config.get("max_workers", 0):
        yield Fault(shown, "max_workers", "is less than the min_workers of all types")


def _ports(provider: dict[str, Any], shown: str) -> Iterator[Fault]:
    for number, rule in enumerate(provider.get("security_group", {}).get("IpPermissions", [])):
        if (rule.get("FromPort"), rule.get("ToPort")) != (22, 22):
            where = f"provider.security_group.IpPermissions[{number}]"
            yield Fault(shown, where, f"opens {rule.get('FromPort')}-{rule.get('ToPort')}; allowed is ssh (22) alone")


def _container(docker: dict[str, Any], shown: str) -> Iterator[Fault]:
    image = docker.get("image", "")
    if image.rpartition("/")[2].partition(":")[2] in ("", "latest") and "@" not in image:
        yield Fault(shown, "docker.image", f"{image!r} has no fixed version")
    common = docker.get("run_options", [])
    if not any(re.search(r"--env[ =]RAY_AUTH_MODE=token$", option) for option in common):
        yield Fault(shown, "docker.run_options", "--env RAY_AUTH_MODE=token is not among them")
    for option in (*common, *docker.get("head_run_options", []), *docker.get("worker_run_options", [])):
        if re.match(r"(-p|--publish|--privileged|--user|-u)\b", option):
            yield Fault(shown, "docker.run_options", f"{option} is not allowed")
    for key in ("head_run_options", "worker_run_options"):
        if not any("--shm-size" in option for option in (*common, *docker.get(key, []))):
            yield Fault(
                shown, f"docker.{key}", "--shm-size is not there: NCCL's buffers and Ray's objects lie in /dev/shm"
            )


def _notice(config: dict[str, Any], shown: str) -> Iterator[Fault]:
    """Where machines can be taken away, a node hears of it; where it starts in the foreground, `ray up` never ends."""
    if not any(_spot(kind) for kind in config["available_node_types"].values()):
        return
    key = "worker_start_ray_commands"
    starts = [command for command in config.get(key, []) if "ray start" in command]
    if not all(re.search(r"&& setsid --fork python \S+/jobs/notice\.py .*> \S+ 2>&1$", c) for c in starts):
        what = "allowed for spot machines is one that ends with && setsid --fork python …/jobs/notice.py"
        yield Fault(shown, key, f"{what} … > LOG 2>&1: a notice of AWS becomes a drain by it")


def _machine(shown: str, where: str, machine: dict[str, Any]) -> Iterator[Fault]:
    if not machine.get("IamInstanceProfile"):
        yield Fault(shown, f"{where}.IamInstanceProfile", "is not there: the node would need keys to read the bucket")
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}", machine.get("ImageId", "")):
        yield Fault(shown, f"{where}.ImageId", f"{machine.get('ImageId')}: allowed is the id of an image, ami-…")
    if machine.get("MetadataOptions", {}).get("HttpTokens") != "required":
        yield Fault(shown, f"{where}.MetadataOptions", "allowed is HttpTokens: required, or any request gets the role")
    disks = [disk.get("Ebs", {}) for disk in machine.get("BlockDeviceMappings", [])]
    if not disks or not all(disk.get("Encrypted") and disk.get("VolumeSize", 0) >= 100 for disk in disks):
        yield Fault(
            shown, f"{where}.BlockDeviceMappings", "allowed are encrypted disks of at least 100 GB (the image: 20)"
        )


def _spot(kind: dict[str, Any]) -> bool:
    return bool(kind["node_config"].get("InstanceMarketOptions", {}).get("MarketType") == "spot")
