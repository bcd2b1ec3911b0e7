"""The files of Ray's cluster launcher: Ray's own validation, then what it would let pass."""

from __future__ import annotations

import contextlib
import copy
import io
import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from checking.faults import Fault
from checking.launcher_aws import aws_faults

_STARTS = ("head_start_ray_commands", "worker_start_ray_commands")
_COMMANDS = ("setup_commands", "head_setup_commands", "worker_setup_commands", *_STARTS)
_SOURCED = re.compile(r"^\. \S*/node\.sh(?: (\S+))? &&")
_NEEDS_NODE = re.compile(r"\b(ray|python|uv|pip)\b")
# Values of the files as they are delivered, which nobody has replaced yet.
_PLACEHOLDERS = ("123456789012", "ami-00000000000000000")


def launcher_faults(file: Path, shown: str) -> Iterator[Fault]:
    """What is wrong with a file of ``ray up``; nothing is started, no cloud is asked.

    Args:
        file: the YAML.
        shown: how faults name it.
    """
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        yield Fault(shown, "YAML", " ".join(str(error).split()))
        return
    if said := _refused_by_ray(config):
        yield Fault(shown, *said)
        return
    for key in ("cluster_name", "file_mounts", *_STARTS, "setup_commands"):
        if key not in config:
            yield Fault(shown, key, "is not there: Ray would fill in its own")
    if not any(remote in ("~/.ray", "~/.ray/auth_token") for remote in config.get("file_mounts", {})):
        yield Fault(shown, "file_mounts", "allowed is one that lays the token into ~/.ray/auth_token of every node")
    yield from _command_faults(config, shown)
    if config["provider"]["type"] == "local":
        yield from _local_faults(config, shown)
    elif config["provider"]["type"] == "aws":
        yield from aws_faults(config, shown)


def placeholders(text: str) -> list[str]:
    """What a person still has to replace before the first start."""
    return [value for value in _PLACEHOLDERS if value in text]


def _refused_by_ray(config: Any) -> tuple[str, str] | None:
    """Field and reason, by the functions that ``ray up`` itself begins with."""
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    silent = io.StringIO()  # they warn of every single file that is copied
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            validate_config(prepare_config(copy.deepcopy(config)))
    except ValidationError as error:
        return ".".join(map(str, error.absolute_path)) or "top", " ".join(error.message.split())[:200]
    except SystemExit:  # how its command line gives up
        return "top", " ".join(silent.getvalue().split())[:200]
    except (ValueError, AssertionError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        return "top", f"Ray refuses it: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def _command_faults(config: dict[str, Any], shown: str) -> Iterator[Fault]:
    for key in _COMMANDS:
        for number, command in enumerate(config.get(key, [])):
            program = command.split()[0] if command.split() else ""
            if _NEEDS_NODE.search(re.sub(r"python3 -m venv|/\S+", "", command)) and not _SOURCED.match(command):
                yield Fault(
                    shown, f"{key}[{number}]", f"{program} …: does not source node.sh (PATH, RAY_AUTH_MODE) first"
                )
    starts = {key: [c for c in config.get(key, []) if "ray start" in c] for key in _STARTS}
    for key, commands in starts.items():
        if len(commands) != 1:
            yield Fault(shown, key, f"{len(commands)} commands start Ray; allowed is one")
    for command in starts["head_start_ray_commands"]:
        yield from _wanted(
            shown, _STARTS[0], command, "--dashboard-host=127.0.0.1", "--autoscaling-config=", "--port=6379"
        )
    for command in starts["worker_start_ray_commands"]:
        wanted = ('--address="$RAY_HEAD_IP:6379"', '--node-ip-address="$NODE_IP"')
        yield from _wanted(shown, _STARTS[1], command, *wanted)
        sourced = _SOURCED.match(command)
        if not sourced or sourced[1] != '"$RAY_HEAD_IP"':
            yield Fault(
                shown, _STARTS[1], 'node.sh is not given "$RAY_HEAD_IP": gloo and NCCL would guess an interface'
            )


def _wanted(shown: str, key: str, command: str, *wanted: str) -> Iterator[Fault]:
    for text in wanted:
        if text not in command:
            yield Fault(shown, key, f"{text} is not in the command that starts Ray")


def _local_faults(config: dict[str, Any], shown: str) -> Iterator[Fault]:
    provider = config["provider"]
    addresses = [provider["head_ip"], *provider["worker_ips"]]
    for address in addresses:
        try:
            usable = not ipaddress.ip_address(address).is_loopback
        except ValueError:
            usable = False
        if not usable:
            yield Fault(shown, "provider", f"{address}: allowed are addresses by which the machines see each other")
    if len(set(addresses)) != len(addresses):
        yield Fault(shown, "provider", "head_ip and worker_ips: one address stands there twice")
    if not any(re.search(r"PATH=.*>> ~/\.bashrc", command) for command in config.get("setup_commands", [])):
        what = (
            "none adds the folder of ray to PATH in ~/.bashrc: `ray down` would stop nothing and say that all is gone"
        )
        yield Fault(shown, "setup_commands", what)
    for command in config.get(_STARTS[1], []):
        if "ray start" in command:  # else a part of Ray stays on a worker after `ray down`
            yield from _wanted(shown, _STARTS[1], command, "setsid --fork ray start --block")
    for command in config.get(_STARTS[0], []):
        if "ray start" in command:
            yield from _wanted(shown, _STARTS[0], command, '--node-ip-address="$NODE_IP"')
            sourced = _SOURCED.match(command)
            if not sourced or sourced[1] != provider["head_ip"]:
                given = sourced[1] if sourced else None
                yield Fault(shown, _STARTS[0], f"node.sh is given {given}; allowed is head_ip, {provider['head_ip']}")
