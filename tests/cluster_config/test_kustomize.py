"""Our reader of kustomizations: order, patches, images, and no silence about what it does not know.

pytest tests/cluster_config/test_kustomize.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from checking.kubernetes import as_kubectl
from checking.kustomize import render

from stargan_ray.errors import InputError

POD = """
apiVersion: v1
kind: Pod
metadata: {name: one, labels: &labels {a: b}}
spec:
  nodeSelector: *labels
  containers: [{name: c, image: "app:1"}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "part").mkdir()
    (tmp_path / "base/pod.yaml").write_text(POD)
    (tmp_path / "base/kustomization.yaml").write_text("resources: [pod.yaml]\nnamespace: below\n")
    part = "kind: Component\nimages: [{name: app, newName: host/app, newTag: '2'}]\n"
    (tmp_path / "part/kustomization.yaml").write_text(part)
    return tmp_path


def overlay(folder: Path, text: str) -> Path:
    (folder / "top").mkdir(exist_ok=True)
    (folder / "top/kustomization.yaml").write_text("resources: [../base]\n" + text)
    return folder / "top"


def test_what_lies_above_changes_what_lies_below(folder: Path) -> None:
    patch = "patches: [{target: {kind: Pod}, patch: '[{op: replace, path: /metadata/labels/a, value: c}]'}]\n"
    (pod,) = render(overlay(folder, f"components: [../part]\nnamespace: above\n{patch}"))
    assert pod.value["metadata"] == {"name": "one", "labels": {"a": "c"}, "namespace": "above"}
    assert pod.value["spec"]["nodeSelector"] == {"a": "b"}  # an alias in YAML is not the same object
    assert pod.value["spec"]["containers"][0]["image"] == "host/app:2"
    assert pod.file.endswith("base/pod.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("namePrefix: x\n", "unknown key of .*'namePrefix'"),
        ("components: [../prat]\n", "No such file"),
        ("patches: [{target: {kind: Job}, patch: '[]'}]\n", r"there is no \{'kind': 'Job'\}"),
        ("patches: [{path: x.yaml}]\n", "allowed are a target"),
        ("patches: [{target: {kind: Pod}, patch: '[{op: remove, path: /no}]'}]\n", "Pod/one: "),
    ],
)
def test_what_it_does_not_know_is_an_error(text: str, said: str, folder: Path) -> None:
    with pytest.raises(InputError, match=said):
        render(overlay(folder, text))


def test_another_rendering_by_kubectl_is_a_fault(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubectl that renders something else stands in for the real one, which not every machine has."""
    binary = tmp_path_factory.mktemp("bin") / "kubectl"
    binary.write_text(f"#!/bin/sh\nexec sed s/app:1/app:3/ {folder}/base/pod.yaml\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}:/usr/bin:/bin")
    assert shutil.which("kubectl") == str(binary)
    (fault,) = as_kubectl(folder / "base", "k8s/base", render(folder / "base"))
    assert (fault.file, fault.field) == ("k8s/base", "Pod/one")
