"""All that is asked of a folder with a kustomization: it can be rendered, and what comes out keeps every rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from checking.commands import command_faults, commands
from checking.dashboards import dashboard_faults
from checking.faults import Fault
from checking.kustomize import Resource, kubectl_render, render
from checking.network import network_faults
from checking.pods import pod_faults, pods
from checking.references import created_secrets, reference_faults
from checking.schemas import schema_faults
from checking.secrets import object_faults
from stargan_ray.errors import InputError


def kubernetes_faults(root: Path, folder: Path, shown: str) -> Iterator[Fault]:
    """Faults of what a folder renders to.

    Args:
        root: the project's folder, for constraints.txt, the jobs and the README with the commands that create Secrets.
        folder: with a kustomization.yaml; one of a job alone is looked at beside the objects of k8s/base.
        shown: how faults name the folder.
    """
    try:
        resources = render(folder)
    except InputError as error:
        yield Fault(shown, "kustomization.yaml", str(error))
        return
    yield from as_kubectl(folder, shown, resources)
    yield from set_faults(root, resources)


def set_faults(root: Path, resources: list[Resource]) -> Iterator[Fault]:
    """Faults of rendered objects, a cluster's or a job's."""
    ray_version = _ray_version((root / "constraints.txt").read_text(encoding="utf-8"))
    readme = (root / "k8s/README.md").read_text(encoding="utf-8")
    whole = any(resource.value["kind"] == "RayCluster" for resource in resources)
    beside = [] if whole else render(root / "k8s/base")
    for resource in resources:
        yield from schema_faults(resource, ray_version)
        yield from object_faults(resource.file, resource.name, resource.value)
        yield from dashboard_faults(resource)
        for pod in pods(resource):
            yield from pod_faults(pod)
        if resource.value["kind"] == "RayJob":
            entrypoint = resource.value["spec"].get("entrypoint", "")
            found = list(commands(entrypoint))
            if len(found) != 1:
                yield Fault(
                    resource.file, f"{resource.name}.spec.entrypoint", f"{entrypoint!r}: allowed is python jobs/X.py …"
                )
            for command in found:
                yield from command_faults(root, resource.file, f"{resource.name}.spec.entrypoint", command)
    yield from reference_faults(resources, beside, created_secrets(readme))
    if whole:
        yield from network_faults(resources)


def as_kubectl(folder: Path, shown: str, resources: list[Resource]) -> Iterator[Fault]:
    """Where ``kubectl kustomize`` makes something else of the folder than our reader; none where it is missing."""
    theirs = kubectl_render(folder)
    if theirs is None:
        return
    ours = {resource.name: resource.value for resource in resources}
    others = {Resource("", value).name: value for value in theirs}
    for name in sorted(ours.keys() | others.keys()):
        if ours.get(name) != others.get(name):
            yield Fault(shown, name, "kubectl kustomize renders it otherwise than cluster/checking/kustomize.py")


@cache
def _ray_version(constraints: str) -> str:
    (version,) = re.findall(r"^ray==(.+)$", constraints, re.MULTILINE)
    return str(version)
