"""Each rule for k8s/, seen to complain: one value of a rendered object is changed, the fault names its file and field.

pytest tests/cluster_config/test_kubernetes_rules.py
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
from checking.kubernetes import set_faults
from checking.kustomize import Resource, render

ROOT = Path(__file__).parents[2]
HEAD = "/spec/headGroupSpec/template/spec"
GPU = "/spec/workerGroupSpecs/0/template/spec"
POD = "/spec/template/spec"
ONE = POD + "/containers/0"
DRAIN = "ray-worker.env.RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
GONE = object()

# object, path, new value (GONE: taken away), end of the field's name, what is said
CLUSTER = [
    # the schemas of Kubernetes, and ours of Ray's two kinds
    ("Deployment/mlflow", "/spec/replicas", "one", "Deployment/mlflow.spec.replicas", "Kubernetes 1.37: 'one'"),
    ("Service/mlflow", "/spec/ports/0/prot", 1, "Service/mlflow.spec.ports[0]", "'prot' was unexpected"),
    (
        "RayCluster/stargan-ray",
        HEAD + "/containers/0/imagee",
        "x",
        "template: .template.spec.containers[0]",
        "'imagee'",
    ),
    ("RayCluster/stargan-ray", "/spec/rayVersoin", "2", "spec.rayVersoin", "KubeRay 1.7 has no such field"),
    ("RayCluster/stargan-ray", "/spec/autoscalerOptions/idle", 1, "autoscalerOptions.idle", "no such field"),
    ("RayCluster/stargan-ray", "/spec/rayVersion", "2.9.0", "spec.rayVersion", "constraints.txt"),
    ("RayCluster/stargan-ray", "/spec/workerGroupSpecs/0/minReplicas", 3, "workerGroupSpecs[0]", "minReplicas <="),
    ("RayCluster/stargan-ray", "/spec/headGroupSpec/rayStartParams/num-cpus", 0, "num-cpus", "allowed is a string"),
    # the token
    ("RayCluster/stargan-ray", "/spec/authOptions", GONE, "spec.authOptions", "mode token"),
    ("RayCluster/stargan-ray", "/spec/authOptions/mode", "disabled", "spec.authOptions", "mode token"),
    ("RayCluster/stargan-ray", "/spec/authOptions/secretName", "other", "authOptions.secretName", "no command"),
    # secrets by reference
    (
        "Deployment/mlflow",
        ONE + "/env/0",
        {"name": "DB_PASSWORD", "value": "x"},
        "env[0].value",
        "DB_PASSWORD in plain",
    ),
    ("ConfigMap/ray-jobs", "/data/API_TOKEN", "x", "data.API_TOKEN", "in a ConfigMap"),
    ("ConfigMap/ray-jobs", "/kind", "Secret", "Secret/ray-jobs", "is not written down"),
    # images and what they may use
    ("StatefulSet/postgres", ONE + "/image", "postgres:latest", "postgres.image", "no fixed version"),
    ("StatefulSet/postgres", ONE + "/image", "host:5000/postgres", "postgres.image", "no fixed version"),
    ("StatefulSet/s3", ONE + "/resources/requests/cpu", GONE, "resources.requests.cpu", "is not there"),
    ("StatefulSet/s3", ONE + "/resources/limits", GONE, "resources.limits.memory", "is not there"),
    ("StatefulSet/s3", ONE + "/resources/limits/memory", "9Gi", "resources.limits.memory", "what is requested"),
    (
        "RayCluster/stargan-ray",
        GPU + "/containers/0/resources/requests/nvidia.com~1gpu",
        GONE,
        "gpu",
        "what is requested",
    ),
    ("RayCluster/stargan-ray", GPU + "/containers/0/resources/limits/nvidia.com~1gpu", 2, "gpu", "what is requested"),
    ("RayCluster/stargan-ray", GPU + "/tolerations", GONE, "spec.tolerations", "nvidia.com/gpu is not among them"),
    ("RayCluster/stargan-ray", GPU + "/volumes/2/emptyDir/medium", "", "ray-worker.volumeMounts", "/dev/shm"),
    # an eviction
    ("RayCluster/stargan-ray", GPU + "/containers/0/env", GONE, DRAIN, "none: allowed are seconds, 30 to 110"),
    ("RayCluster/stargan-ray", GPU + "/containers/0/env/0/value", "soon", DRAIN, "soon: allowed are seconds"),
    ("RayCluster/stargan-ray", GPU + "/containers/0/env/0/value", "10", DRAIN, "10: allowed are seconds"),
    ("RayCluster/stargan-ray", GPU + "/containers/0/env/0/value", "120", DRAIN, "terminationGracePeriodSeconds - 10"),
    ("RayCluster/stargan-ray", GPU + "/terminationGracePeriodSeconds", GONE, DRAIN, "105: allowed are seconds"),
    # rights
    ("StatefulSet/postgres", ONE + "/securityContext/runAsNonRoot", False, "runAsNonRoot", "allowed is True"),
    ("StatefulSet/postgres", ONE + "/securityContext/runAsUser", 0, "runAsUser", "a number above 0"),
    ("Deployment/mlflow", ONE + "/securityContext/readOnlyRootFilesystem", GONE, "readOnlyRootFilesystem", "is True"),
    ("Deployment/mlflow", ONE + "/securityContext/capabilities", GONE, "capabilities", "'drop': ['ALL']"),
    ("RayCluster/stargan-ray", HEAD + "/containers/0/securityContext", GONE, "allowPrivilegeEscalation", "is False"),
    ("Deployment/mlflow", POD + "/automountServiceAccountToken", GONE, "automountServiceAccountToken", "is false"),
    ("StatefulSet/s3", POD + "/hostNetwork", True, "hostNetwork", "allowed is false"),
    ("StatefulSet/s3", POD + "/volumes/0", {"name": "tmp", "hostPath": {"path": "/"}}, "volumes.tmp", "not allowed"),
    # names that exist
    ("StatefulSet/s3", "/spec/serviceName", "s4", "spec.serviceName", "there is no Service s4"),
    ("StatefulSet/s3", ONE + "/volumeMounts/0/name", "dta", "volumeMounts.dta", "['data', 'tmp']"),
    ("Deployment/mlflow", ONE + "/envFrom/0/configMapRef/name", "store", "mlflow.envFrom", "no ConfigMap store"),
    ("Deployment/mlflow", ONE + "/envFrom/1/secretRef/name", "keys", "mlflow.envFrom", "no command of k8s/README.md"),
    ("Deployment/mlflow", ONE + "/env/0/valueFrom/secretKeyRef/key", "uri", "MLFLOW_BACKEND_STORE_URI", "without uri"),
    ("Deployment/mlflow", POD + "/volumes/2/secret/items/0/key", "x.ini", "volumes.accounts", "without x.ini"),
    ("Deployment/mlflow", POD + "/serviceAccountName", "mlflow", "serviceAccountName", "no ServiceAccount mlflow"),
    ("Service/mlflow", "/spec/selector", {"app": "x"}, "spec.selector", "no pod has the labels"),
    ("Service/mlflow", "/spec/ports/0/targetPort", "https", "spec.ports.http", "no container has its targetPort"),
    ("Service/s3", "/metadata/name", "mlflow", "Service/mlflow", "is in k8s/base/mlflow.yaml too"),
    ("Service/s3", "/metadata/namespace", "other", "metadata.namespace", "one for the whole set"),
    # what may talk to what
    ("NetworkPolicy/default-deny", "/spec/policyTypes", ["Ingress"], "NetworkPolicy", "none shuts all pods"),
    ("NetworkPolicy/names", "/spec/egress/0/ports/0/port", 54, "NetworkPolicy", "ask for names"),
    ("NetworkPolicy/mlflow", "/spec/ingress/0/from", [], "mlflow.spec.ingress[0]", "opens to everybody"),
    ("NetworkPolicy/mlflow", "/spec/ingress/0/ports/0/port", 5001, "Service/mlflow.spec.ports.http", "opens it"),
    ("NetworkPolicy/s3", "/spec/podSelector/matchLabels", {"a": "b"}, "s3.spec.podSelector", "no pod is chosen"),
    (
        "NetworkPolicy/ray",
        "/spec/ingress/0/from/0",
        {"ipBlock": {"cidr": "0.0.0.0/0"}},
        "ray.spec.ingress[0]",
        "opens to everybody",
    ),
]
JOB = [
    ("RayJob/train", "/spec/clusterSelector", GONE, "spec.clusterSelector", "name of a RayCluster"),
    ("RayJob/train", "/spec/clusterSelector/ray.io~1cluster", "other", "clusterSelector", "no RayCluster other"),
    ("RayJob/train", "/spec/submissionMode", "HTTPMode", "spec.submissionMode", "K8sJobMode"),
    ("RayJob/train", "/spec/backoffLimit", 2, "RayJob/train.spec", "refused with a clusterSelector"),
    ("RayJob/train", "/spec/entryPoint", "x", "spec.entryPoint", "no such field"),
    ("RayJob/train", "/spec/entrypoint", "python jobs/train.py stargan --data d", "entrypoint", "unknown recipe"),
    ("RayJob/train", "/spec/entrypoint", "sleep 1", "spec.entrypoint", "allowed is python jobs/X.py"),
    ("RayJob/train", "/spec/submitterPodTemplate", GONE, "spec.submitterPodTemplate", "is not there"),
    ("RayJob/train", "/spec/submitterPodTemplate/spec/containers/0/image", "x", "image", "no fixed version"),
]


@pytest.mark.parametrize(("name", "path", "value", "field", "said"), CLUSTER, ids=lambda value: None)
def test_a_fault_of_the_cluster_is_named(name: str, path: str, value: Any, field: str, said: str) -> None:
    planted(ROOT / "k8s/overlays/example/cluster", name, path, value, field, said)


@pytest.mark.parametrize(("name", "path", "value", "field", "said"), JOB, ids=lambda value: None)
def test_a_fault_of_a_job_is_named(name: str, path: str, value: Any, field: str, said: str) -> None:
    planted(ROOT / "k8s/jobs/train", name, path, value, field, said)


@cache
def as_rendered(folder: Path) -> str:
    return json.dumps([(resource.file, resource.value) for resource in render(folder)])


def rendered(folder: Path) -> list[Resource]:
    """Fresh objects of a folder, which is read once."""
    return [Resource(file, value) for file, value in json.loads(as_rendered(folder))]


def planted(folder: Path, name: str, path: str, value: Any, field: str, said: str) -> None:
    resources = rendered(folder)
    (place,) = [number for number, resource in enumerate(resources) if resource.name == name]
    step = {"op": "remove", "path": path} if value is GONE else {"op": "add", "path": path, "value": value}
    if value is not GONE and path.rpartition("/")[2].isdigit():
        step["op"] = "replace"
    changed = jsonpatch.JsonPatch([step]).apply(resources[place].value)
    resources[place] = Resource(resources[place].file, changed)
    faults = list(set_faults(ROOT, resources))
    assert any(f.field.endswith(field) and said in f.what for f in faults), [str(f) for f in faults]
    assert all(f.file.startswith("k8s/") for f in faults)


@pytest.mark.parametrize("left_out", ["NetworkPolicy/default-deny", "ConfigMap/object-store", "Service/postgres"])
def test_an_object_that_is_left_out_is_missed(left_out: str) -> None:
    resources = [r for r in rendered(ROOT / "k8s/overlays/example/cluster") if r.name != left_out]
    assert list(set_faults(ROOT, resources))
