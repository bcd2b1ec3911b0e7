"""Where a run comes from: its data, its helpers, the commit of the package."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import stargan_ray
from stargan_ray.data.shards import Dataset
from stargan_ray.runtime.models import LoadedModel


def describe(dataset: Dataset, helpers: Mapping[str, LoadedModel]) -> dict[str, Any]:
    """What every meta.json of the run says besides recipe, step and metrics."""
    return {
        "domains": list(dataset.manifest.domains),
        "data_uri": dataset.uri,
        "data_hash": dataset.manifest.content_hash,
        "commit": commit(),
        "version": stargan_ray.__version__,
        "helpers": {
            n: {"uri": m.where, "content_hash": m.content_hash, "pretrained": m.meta["pretrained"]}
            for n, m in helpers.items()
        },
    }


def commit() -> str:
    """The commit of the package's checkout with ``+changes`` where it was edited; empty outside of one."""
    folder = Path(stargan_ray.__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
