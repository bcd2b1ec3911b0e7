"""Reads a kustomization as ``kubectl kustomize`` does, as much as k8s/ uses; another key is an error, not ignored.

``resources``, ``components``, ConfigMaps made of files, JSON patches with a target, ``images`` and ``namespace``, in
kustomize's order: first what lies below, then each component, then the folder's own changes.
"""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonpatch
import yaml

from stargan_ray.errors import InputError, unknown

_KEYS = ("apiVersion", "kind", "resources", "components", "configMapGenerator", "patches", "images", "namespace")
_MADE = {"name", "files", "options"}
_OPTIONS = {"disableNameSuffixHash", "labels"}


@dataclass
class Resource:
    """An object and the file that it was written in.

    Attributes:
        file: where it was written; patches of other files may have changed it.
        value: the object.
    """

    file: str
    value: dict[str, Any]

    @property
    def name(self) -> str:
        """Kind and name, as faults say it."""
        return f"{self.value['kind']}/{self.value['metadata']['name']}"


def render(folder: Path) -> list[Resource]:
    """The objects of a folder with a kustomization.yaml.

    Raises:
        InputError: a file is not there or no YAML, or the kustomization uses what this reader does not know.
    """
    return _changed(folder, [])


def kubectl_render(folder: Path) -> list[dict[str, Any]] | None:
    """The same by ``kubectl kustomize``; None where kubectl is not installed."""
    if shutil.which("kubectl") is None:
        return None
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"kubectl kustomize {folder}: {' '.join(done.stderr.split())}")
    return [value for value in yaml.safe_load_all(done.stdout) if value]


def _changed(folder: Path, below: list[Resource]) -> list[Resource]:
    """What a folder makes of the objects below it (a component's are those of whoever uses it)."""
    file = folder / "kustomization.yaml"
    (kustomization,) = _documents(file)
    for key in kustomization:
        if key not in _KEYS:
            raise unknown(f"key of {file}", key, _KEYS)
    resources = list(below)
    for entry in kustomization.get("resources", []):
        place = (folder / entry).resolve()
        resources += render(place) if place.is_dir() else [Resource(_shown(place), v) for v in _documents(place)]
    for entry in kustomization.get("components", []):
        resources = _changed((folder / entry).resolve(), resources)
    resources += [_made(made, folder) for made in kustomization.get("configMapGenerator", [])]
    for patch in kustomization.get("patches", []):
        _patch(resources, patch, file)
    for image in kustomization.get("images", []):
        for resource in resources:
            _set_image(resource.value, image)
    if namespace := kustomization.get("namespace"):
        for resource in resources:
            kind = resource.value["kind"]
            resource.value["metadata"]["name" if kind == "Namespace" else "namespace"] = namespace
    return resources


def _documents(file: Path) -> list[dict[str, Any]]:
    try:
        values = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{file}: no YAML: {' '.join(str(error).split())}") from error
    # A YAML alias is one object in several places, which a patch of one place must not share.
    return [json.loads(json.dumps(value)) for value in values if value]


def _made(made: dict[str, Any], folder: Path) -> Resource:
    """A ConfigMap of files; its name stays as it is, since a hash at its end would be another with each change."""
    file, options = folder / "kustomization.yaml", made.get("options", {})
    if set(made) - _MADE or set(options) - _OPTIONS or options.get("disableNameSuffixHash") is not True:
        raise InputError(
            f"{file}: configMapGenerator: allowed are a name, files and options with disableNameSuffixHash: true"
        )
    try:
        data = {name: (folder / name).read_text(encoding="utf-8") for name in made.get("files", [])}
    except OSError as error:
        raise InputError(f"{file}: configMapGenerator: {error.filename}: {error.strerror}") from error
    metadata = {"name": made["name"], **({"labels": options["labels"]} if "labels" in options else {})}
    return Resource(_shown(file), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _patch(resources: list[Resource], patch: dict[str, Any], file: Path) -> None:
    target = patch.get("target")
    if not target or set(target) - {"kind", "name"} or set(patch) - {"target", "patch"}:
        raise InputError(f"{file}: patches: allowed are a target (kind, name) and a JSON patch")
    chosen = [r for r in resources if _is(r.value, target)]
    if not chosen:
        raise InputError(f"{file}: patches: there is no {target}")
    for resource in chosen:
        try:
            steps = jsonpatch.JsonPatch(yaml.safe_load(patch["patch"]))
            resource.value = steps.apply(copy.deepcopy(resource.value))
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
            raise InputError(f"{file}: patches: {resource.name}: {error}") from error


def _is(value: dict[str, Any], target: dict[str, str]) -> bool:
    has = {"kind": value["kind"], "name": value["metadata"]["name"]}
    return target.items() <= has.items()


def _set_image(value: Any, image: dict[str, str]) -> None:
    if isinstance(value, list):
        for inner in value:
            _set_image(inner, image)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("containers", "initContainers") and isinstance(inner, list):
                for container in inner:
                    name, _, tag = container["image"].partition(":")
                    if name == image["name"]:
                        container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
            _set_image(inner, image)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
