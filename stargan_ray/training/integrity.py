"""Whether a checkpoint's files are the ones that were written: their sizes and SHA-256 are in its meta.json.

meta.json is written last, so a checkpoint without it is half written. What a disk or a copy does afterwards to a
checkpoint that was whole is found here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stargan_ray.errors import InputError


class DamagedError(InputError):
    """A checkpoint is not what was written."""


def fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    """File name -> bytes and SHA-256, of the files of a local folder."""
    return {path.name: _fingerprint(path) for path in sorted(folder.iterdir()) if path.is_file()}


def require_whole(folder: Path, meta: Mapping[str, Any]) -> None:
    """Compare a local copy with what its meta.json says; one that is older than this check says nothing.

    Raises:
        DamagedError: a file is absent, too short, or has other content.
    """
    for name, told in meta.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{name} is missing")
        found = path.stat().st_size
        if found != told["bytes"]:
            raise DamagedError(f"{name} has {found} of {told['bytes']} bytes")
        if _fingerprint(path)["sha256"] != told["sha256"]:
            raise DamagedError(f"{name} has other content than was written")


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
