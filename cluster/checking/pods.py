"""Rules for every pod: a fixed image, what it may use, and rights given up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from checking.faults import Fault
from checking.kustomize import Resource

_GPU = "nvidia.com/gpu"
_DRAIN = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
_CHECKPOINT_S, _END_S = 30, 10  # what a checkpoint is given, and what Ray needs to end


@dataclass(frozen=True)
class PodSpec:
    """A pod that some object will make.

    Attributes:
        file: of the object.
        where: dotted path of the pod's spec, after the object's kind and name.
        labels: of the pod.
        spec: of the pod.
    """

    file: str
    where: str
    labels: dict[str, str]
    spec: dict[str, Any]

    def containers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each container with its path."""
        for kind in ("initContainers", "containers"):
            for container in self.spec.get(kind, []):
                yield f"{self.where}.{kind}.{container['name']}", container


def pods(resource: Resource) -> Iterator[PodSpec]:
    """The pods that an object makes."""
    value, spec = resource.value, resource.value.get("spec", {})
    templates: list[tuple[str, dict[str, Any] | None]] = []
    if value["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
        templates = [("template", spec.get("template"))]
    elif value["kind"] == "RayCluster":
        templates = [("headGroupSpec.template", spec.get("headGroupSpec", {}).get("template"))]
        for number, group in enumerate(spec.get("workerGroupSpecs", [])):
            templates.append((f"workerGroupSpecs[{number}].template", group.get("template")))
    elif value["kind"] == "RayJob":
        templates = [("submitterPodTemplate", spec.get("submitterPodTemplate"))]
    for where, template in templates:
        if template:
            labels = template.get("metadata", {}).get("labels", {})
            yield PodSpec(resource.file, f"{resource.name}.spec.{where}.spec", labels, template.get("spec", {}))


def pod_faults(pod: PodSpec) -> Iterator[Fault]:
    """What a pod must not be like."""
    head = ".headGroupSpec." in pod.where  # the autoscaler asks Kubernetes for pods
    if not head and pod.spec.get("automountServiceAccountToken") is not False:
        yield Fault(
            pod.file, f"{pod.where}.automountServiceAccountToken", "allowed is false: it asks Kubernetes nothing"
        )
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(key):
            yield Fault(pod.file, f"{pod.where}.{key}", "allowed is false")
    for volume in pod.spec.get("volumes", []):
        if "hostPath" in volume:
            yield Fault(pod.file, f"{pod.where}.volumes.{volume['name']}", "a folder of the machine is not allowed")
    for where, container in pod.containers():
        yield from _image(pod.file, where, container.get("image", ""))
        yield from _resources(pod, where, container.get("resources", {}))
        yield from _security(pod.file, where, container)
    if ".workerGroupSpecs" in pod.where or head:
        yield from _shared_memory(pod)
    if ".workerGroupSpecs" in pod.where:
        yield from _drained(pod)


def _image(file: str, where: str, image: str) -> Iterator[Fault]:
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not digest and tag in ("", "latest"):
        yield Fault(file, f"{where}.image", f"{image!r} has no fixed version; allowed is NAME:VERSION or a digest")


def _resources(pod: PodSpec, where: str, resources: dict[str, Any]) -> Iterator[Fault]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    for name in ("cpu", "memory"):
        if name not in requests:
            yield Fault(pod.file, f"{where}.resources.requests.{name}", "is not there")
    if "memory" not in limits:
        yield Fault(pod.file, f"{where}.resources.limits.memory", "is not there")
    elif requests.get("memory") != limits["memory"]:
        # Beyond its request a pod is the first to be killed where memory runs out.
        yield Fault(pod.file, f"{where}.resources.limits.memory", f"{limits['memory']}: allowed is what is requested")
    if requests.get(_GPU) != limits.get(_GPU):
        yield Fault(pod.file, f"{where}.resources.limits.{_GPU}", f"{limits.get(_GPU)}: allowed is what is requested")
    if _GPU in limits and not any(t.get("key") == _GPU for t in pod.spec.get("tolerations", [])):
        yield Fault(
            pod.file, f"{pod.where}.tolerations", f"{_GPU} is not among them, and GPU nodes are kept free by it"
        )


def _security(file: str, where: str, container: dict[str, Any]) -> Iterator[Fault]:
    has = container.get("securityContext", {})
    wanted: dict[str, Any] = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for key, value in wanted.items():
        if has.get(key) != value:
            yield Fault(file, f"{where}.securityContext.{key}", f"{has.get(key)}: allowed is {value}")
    if not has.get("runAsUser"):  # a name in the image is not enough: Kubernetes cannot tell whether it is root
        yield Fault(file, f"{where}.securityContext.runAsUser", f"{has.get('runAsUser')}: allowed is a number above 0")


def _shared_memory(pod: PodSpec) -> Iterator[Fault]:
    memory = {v["name"] for v in pod.spec.get("volumes", []) if v.get("emptyDir", {}).get("medium") == "Memory"}
    for where, container in pod.containers():
        mounts = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", [])}
        if mounts.get("/dev/shm") not in memory:
            yield Fault(
                pod.file, f"{where}.volumeMounts", "/dev/shm: allowed is a volume in memory; Ray's objects lie there"
            )


def _drained(pod: PodSpec) -> Iterator[Fault]:
    """At SIGTERM Ray drains a node for so long; at the end of its period (30 s unless said) Kubernetes kills it."""
    longest = pod.spec.get("terminationGracePeriodSeconds", 30) - _END_S
    for where, container in pod.containers():
        given = {entry["name"]: entry.get("value") for entry in container.get("env", [])}.get(_DRAIN) or "none"
        if not given.isdigit() or not _CHECKPOINT_S <= int(given) <= longest:
            allowed = f"{_CHECKPOINT_S} to {longest}, terminationGracePeriodSeconds - {_END_S}"
            yield Fault(pod.file, f"{where}.env.{_DRAIN}", f"{given}: allowed are seconds, {allowed}")
