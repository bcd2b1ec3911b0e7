"""No secret in plain text: not in a variable whose name promises one, and nothing that looks like one anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from checking.faults import Fault

_NAMES = re.compile(r"password|passwd|secret|token|access_key|private_key|credential", re.IGNORECASE)
_PLACES = re.compile(r"(path|file|mode)$", re.IGNORECASE)  # names of where a secret is, not of the secret
_SHAPES = {
    "an AWS key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a password in an address": re.compile(r"\w+://[^\s/:@<>$]+:(?![<$])[^\s/@]+@"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{30,}\b"),
}
# NAME=value in a command; a value that is a reference ($NAME, $(command), <yours>, "$NAME") does not count.
_ASSIGNED = re.compile(r"\b(\w*(?:PASSWORD|SECRET|TOKEN|ACCESS_KEY)\w*)=([^\s\"'$<]+)", re.IGNORECASE)


def text_faults(file: str, text: str) -> Iterator[Fault]:
    """Shapes of secrets in any text, with their line."""
    for number, line in enumerate(text.splitlines(), 1):
        for what, shape in _SHAPES.items():
            if shape.search(line):
                yield Fault(file, f"line {number}", f"{what} in plain text; allowed is a reference to where it lies")
        for name, _ in _ASSIGNED.findall(line):
            if not _PLACES.search(name):
                yield Fault(file, f"line {number}", f"{name} in plain text; allowed is a reference to where it lies")


def object_faults(file: str, where: str, value: dict[str, Any]) -> Iterator[Fault]:
    """A Secret, and variables with a secret's name and a value, in a Kubernetes object."""
    if value.get("kind") == "Secret":
        yield Fault(file, where, "a Secret is not written down; the README says how to create it")
    if value.get("kind") == "ConfigMap":
        for name in value.get("data", {}):
            if _promises(name):
                yield Fault(file, f"{where}.data.{name}", "a secret in a ConfigMap; allowed is a Secret of the README")
    yield from _variables(file, where, value)


def _variables(file: str, where: str, value: Any) -> Iterator[Fault]:
    if isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _variables(file, f"{where}[{place}]", inner)
    elif isinstance(value, dict):
        if "value" in value and _promises(str(value.get("name", ""))):
            yield Fault(file, f"{where}.value", f"{value['name']} in plain text; allowed is valueFrom.secretKeyRef")
        for key, inner in value.items():
            yield from _variables(file, f"{where}.{key}", inner)


def _promises(name: str) -> bool:
    return bool(_NAMES.search(name)) and not _PLACES.search(name)
