"""Check the files of cluster/ and k8s/ without a network: what Ray, Kubernetes, the jobs and we ourselves ask of them.

    python cluster/check.py                               all that the project has, as `make cluster-check`
    python cluster/check.py mine.yaml k8s/overlays/mine   a launcher's file, a Dockerfile, folders with a kustomization

Each fault is a line with its file and field; the status is 2 where there is one. Nothing is started, no cloud asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from checking.commands import command_faults, commands
from checking.dockerfile import dockerfile_faults
from checking.faults import Fault
from checking.kubernetes import kubernetes_faults
from checking.launcher import launcher_faults, placeholders
from checking.ray_commands import ray_command_faults
from checking.secrets import text_faults

from stargan_ray.errors import InputError
from stargan_ray.runtime import cli

ROOT = Path(__file__).resolve().parents[1]
TEXTS = (".yaml", ".md", ".json", ".sh")


@dataclass(frozen=True)
class Check:
    """What to check.

    Attributes:
        paths: launcher files, Dockerfiles and folders with a kustomization.yaml; none = the project's own.
    """

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()


def own_paths() -> list[Path]:
    """What the project has: launcher files, the Dockerfile, every kustomization that can be applied."""
    folders = [
        file.parent for file in (ROOT / "k8s").rglob("kustomization.yaml") if "Component" not in file.read_text()
    ]
    return [*sorted((ROOT / "cluster").glob("*.yaml")), ROOT / "cluster/Dockerfile", *sorted(folders)]


def path_faults(path: Path) -> Iterator[Fault]:
    """Faults of one path.

    Raises:
        InputError: there is no such path, or it is none of the three kinds.
    """
    if (path / "kustomization.yaml").is_file():
        yield from kubernetes_faults(ROOT, path, _shown(path))
    elif path.is_file() and path.name.startswith("Dockerfile"):
        yield from dockerfile_faults(path, _shown(path))
    elif path.is_file() and path.suffix in (".yaml", ".yml"):
        yield from launcher_faults(path, _shown(path))
    else:
        raise InputError(f"{path}: allowed are a launcher's YAML, a Dockerfile and a folder with a kustomization.yaml")


def written_faults() -> Iterator[Fault]:
    """Secrets, and commands that a job would refuse, in every text of cluster/ and k8s/."""
    for folder in ("cluster", "k8s"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in TEXTS and file.is_file():
                text = file.read_text(encoding="utf-8")
                yield from text_faults(_shown(file), text)
                if file.suffix == ".md":  # a RayJob's command is checked as it is rendered
                    yield from ray_command_faults(_shown(file), text)
                    for command in commands(text):
                        yield from command_faults(ROOT, _shown(file), "command", command)


def main() -> None:
    """Check, print each fault, and what still has to be replaced."""
    job = cli.parse(Check, __doc__)
    paths = job.paths or own_paths()
    faults = {fault for path in paths for fault in path_faults(path)}
    if not job.paths:
        faults |= set(written_faults())
    for fault in sorted(faults):
        print(fault)
    for path in paths:
        if path.is_file() and (left := placeholders(path.read_text(encoding="utf-8"))):
            print(f"note: {_shown(path)} still has {', '.join(left)}: replace them by yours before the first start")
    if faults:
        raise InputError(f"{len(faults)} faults in {len(paths)} files and folders")
    print(f"{len(paths)} files and folders: no fault")


def _shown(path: Path) -> str:
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    cli.job(main)
