"""Objects against the schemas of Kubernetes (from the package kubernetes-validate), operators' against lists of ours.

No package ships the schemas of KubeRay. What is checked of a RayCluster and a RayJob: that its fields are among those
of operator 1.7, that the rules hold by which the operator refuses one, and that its pods fit Kubernetes' own schema of
a pod. Of the Prometheus operator's kinds a PodMonitor is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from checking.faults import Fault
from checking.kustomize import Resource
from stargan_ray.errors import InputError

# The newest that the package knows, and the oldest that KubeRay's documentation still counts with.
VERSIONS = ("1.37", "1.32")
_CLUSTER = {
    *("rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"),
    *("gcsFaultToleranceOptions", "headServiceAnnotations", "managedBy", "networkPolicy", "suspend", "tlsOptions"),
    *("upgradeStrategy", "historyServerOptions"),
}
_AUTOSCALER = {
    *("args", "command", "env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources"),
    *("securityContext", "upscalingMode", "version", "volumeMounts"),
}
_HEAD = {"rayStartParams", "template", "serviceType", "headService", "labels", "resources", "enableIngress"}
_WORKERS = {
    *("groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template", "idleTimeoutSeconds"),
    *("labels", "numOfHosts", "priority", "resources", "scaleStrategy", "suspend"),
}
_JOB = {
    *("clusterSelector", "entrypoint", "submissionMode", "submitterPodTemplate", "submitterConfig", "rayClusterSpec"),
    *("activeDeadlineSeconds", "backoffLimit", "deletionStrategy", "entrypointNumCpus", "entrypointNumGpus"),
    *("entrypointResources", "jobId", "managedBy", "metadata", "preRunningDeadlineSeconds", "runtimeEnvYAML"),
    *("shutdownAfterJobFinishes", "suspend", "ttlSecondsAfterFinished"),
}
_MONITOR = {
    *("attachMetadata", "jobLabel", "labelLimit", "namespaceSelector", "podMetricsEndpoints", "podTargetLabels"),
    *("sampleLimit", "scrapeClass", "selector", "targetLimit"),
}
_ENDPOINT = {
    *("honorLabels", "honorTimestamps", "interval", "metricRelabelings", "params", "path", "port", "portNumber"),
    *("relabelings", "scheme", "scrapeTimeout"),
}


def schema_faults(resource: Resource, ray_version: str) -> Iterator[Fault]:
    """What does not fit of an object; ``ray_version`` is that of constraints.txt."""
    value = resource.value
    if (value.get("apiVersion"), value["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor"):
        yield from _monitor(resource, value["spec"])
    elif value.get("apiVersion") != "ray.io/v1":
        yield from _kubernetes(resource, value)
    elif value["kind"] == "RayCluster":
        yield from _cluster(resource, value["spec"], ray_version)
    elif value["kind"] == "RayJob":
        yield from _job(resource, value["spec"])
    else:
        yield Fault(resource.file, resource.name, "allowed of ray.io/v1 are RayCluster and RayJob")


def _kubernetes(resource: Resource, value: dict[str, Any], where: str = "") -> Iterator[Fault]:
    for version in VERSIONS:
        error = next(_validator(version, value["kind"], value["apiVersion"]).iter_errors(value), None)
        if error is not None:
            path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path)
            said = " ".join(error.message.split())
            yield Fault(resource.file, resource.name + where + path, f"Kubernetes {version}: {said[:200]}")
            return


def _cluster(resource: Resource, spec: dict[str, Any], ray_version: str) -> Iterator[Fault]:
    file, name = resource.file, f"{resource.name}.spec"
    yield from _fields(resource, spec, _CLUSTER, ".spec")
    yield from _fields(resource, spec.get("autoscalerOptions", {}), _AUTOSCALER, ".spec.autoscalerOptions")
    if spec.get("rayVersion") != ray_version:
        yield Fault(file, f"{name}.rayVersion", f"{spec.get('rayVersion')}: allowed is {ray_version} (constraints.txt)")
    auth = spec.get("authOptions", {})
    if auth.get("mode") != "token" or not auth.get("secretName"):
        yield Fault(file, f"{name}.authOptions", "allowed is mode token with the secretName of the token")
    head = spec.get("headGroupSpec", {})
    yield from _fields(resource, head, _HEAD, ".spec.headGroupSpec")
    yield from _template(resource, head.get("template"), ".spec.headGroupSpec.template")
    groups = spec.get("workerGroupSpecs", [])
    for number, group in enumerate(groups):
        where = f".spec.workerGroupSpecs[{number}]"
        yield from _fields(resource, group, _WORKERS, where)
        counts = [group.get(key) for key in ("minReplicas", "replicas", "maxReplicas")]
        if None in counts or counts != sorted(counts) or counts[2] < 1:
            yield Fault(file, f"{resource.name}{where}", f"{counts}: allowed is minReplicas <= replicas <= maxReplicas")
        yield from _template(resource, group.get("template"), f"{where}.template")
    for place, group in [("headGroupSpec", head), *((f"workerGroupSpecs[{n}]", g) for n, g in enumerate(groups))]:
        for parameter, text in group.get("rayStartParams", {}).items():
            if not isinstance(text, str):
                yield Fault(file, f"{name}.{place}.rayStartParams.{parameter}", f"{text}: allowed is a string")


def _job(resource: Resource, spec: dict[str, Any]) -> Iterator[Fault]:
    file, name = resource.file, f"{resource.name}.spec"
    yield from _fields(resource, spec, _JOB, ".spec")
    if not spec.get("clusterSelector", {}).get("ray.io/cluster") and "rayClusterSpec" not in spec:
        yield Fault(file, f"{name}.clusterSelector", "allowed is ray.io/cluster with the name of a RayCluster")
    if spec.get("submissionMode") != "K8sJobMode":
        yield Fault(file, f"{name}.submissionMode", "allowed with a clusterSelector is K8sJobMode")
    if spec.get("suspend") or spec.get("backoffLimit") or spec.get("ttlSecondsAfterFinished"):
        yield Fault(file, name, "suspend, backoffLimit and ttlSecondsAfterFinished are refused with a clusterSelector")
    yield from _template(resource, spec.get("submitterPodTemplate"), ".spec.submitterPodTemplate")


def _monitor(resource: Resource, spec: dict[str, Any]) -> Iterator[Fault]:
    yield from _fields(resource, spec, _MONITOR, ".spec", "a PodMonitor")
    for number, endpoint in enumerate(spec.get("podMetricsEndpoints", [])):
        yield from _fields(resource, endpoint, _ENDPOINT, f".spec.podMetricsEndpoints[{number}]", "a PodMonitor")


def _template(resource: Resource, template: dict[str, Any] | None, where: str) -> Iterator[Fault]:
    if not template:
        yield Fault(resource.file, resource.name + where, "is not there")
        return
    yield from _kubernetes(resource, {"apiVersion": "v1", "kind": "PodTemplate", "template": template}, f"{where}: ")


def _fields(
    resource: Resource, value: dict[str, Any], allowed: set[str], where: str, who: str = "KubeRay 1.7"
) -> Iterator[Fault]:
    for key in sorted(set(value) - allowed):
        yield Fault(
            resource.file, f"{resource.name}{where}.{key}", f"{who} has no such field; it has {sorted(allowed)}"
        )


@cache
def _validator(version: str, kind: str, api_version: str) -> Any:
    """Of an object; the definitions of a version take a tenth of a second to read, so they are read once."""
    import jsonschema
    from referencing import Registry
    from referencing import Resource as Schema

    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)  # apps/v1 -> apps-v1, as the package names its files
    try:
        schema = _contents(version, f"{kind.lower()}-{group}.json")
    except FileNotFoundError as error:
        raise InputError(f"Kubernetes {version} has no schema of {api_version} {kind}") from error
    registry = Schema.from_contents(schema) @ (_definitions(version) @ Registry())
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(version: str) -> Any:
    from referencing import Resource as Schema

    return Schema.from_contents(_contents(version, "_definitions.json"))


def _contents(version: str, name: str) -> Any:
    from kubernetes_validate.utils import schema_contents

    return schema_contents(f"kubernetes-json-schema/v{version}.0-local-strict/{name}", version)
