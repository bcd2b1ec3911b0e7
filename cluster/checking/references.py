"""Every name that an object refers to exists: in the same set, or as a Secret that the README says how to create."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from checking.faults import Fault
from checking.kustomize import Resource
from checking.pods import PodSpec, pods

# kubectl create secret generic NAME … --from-literal=KEY=…  or  --from-file=KEY=…
_CREATED = re.compile(r"kubectl\b[^\n]*\bcreate secret generic ([\w-]+)((?:[^\n]|\\\n)*)")
_KEY = re.compile(r"--from-(?:literal|file)=([\w.-]+)=")


def created_secrets(readme: str) -> dict[str, set[str]]:
    """Secrets that a README's commands create, each with its keys."""
    return {name: set(_KEY.findall(rest)) for name, rest in _CREATED.findall(readme.replace("\\\n", " "))}


def reference_faults(
    resources: Iterable[Resource], beside: Iterable[Resource], secrets: Mapping[str, set[str]]
) -> Iterator[Fault]:
    """Names that nothing has.

    Args:
        resources: a rendered set.
        beside: objects that are there already, for the jobs of a cluster.
        secrets: those of the README.
    """
    resources = list(resources)
    known = {r.name: r.value for r in (*beside, *resources)}
    namespaces = {r.value["metadata"].get("namespace") for r in resources if r.value["kind"] != "Namespace"}
    named = {r.value["metadata"]["name"] for r in resources if r.value["kind"] == "Namespace"}
    if len(namespaces) != 1 or None in namespaces or (named and named != namespaces):
        shown = sorted(map(str, namespaces | named))
        yield Fault(resources[0].file, "metadata.namespace", f"{shown}: allowed is one for the whole set")
    for resource in resources:
        spec = resource.value.get("spec", {})
        where = f"{resource.name}.spec"
        if resource.value["kind"] == "RayJob":
            cluster = spec.get("clusterSelector", {}).get("ray.io/cluster")
            yield from _need(known, resource.file, f"{where}.clusterSelector", "RayCluster", cluster)
        if resource.value["kind"] == "RayCluster" and (token := spec.get("authOptions", {}).get("secretName")):
            yield from _secret(resource.file, f"{where}.authOptions.secretName", token, "auth_token", secrets)
        if resource.value["kind"] == "StatefulSet":
            yield from _need(known, resource.file, f"{where}.serviceName", "Service", spec.get("serviceName"))
        if resource.value["kind"] == "Service":
            yield from _selected(resource, [p for r in (*beside, *resources) for p in pods(r)])
        if resource.value["kind"] == "PodMonitor":
            yield from _scraped(resource, [p for r in (*beside, *resources) for p in pods(r)])
        claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        for pod in pods(resource):
            yield from _of_pod(pod, known, secrets, claims)
    yield from _twice(resources)


def _of_pod(
    pod: PodSpec, known: Mapping[str, Any], secrets: Mapping[str, set[str]], claims: set[str]
) -> Iterator[Fault]:
    if account := pod.spec.get("serviceAccountName"):
        yield from _need(known, pod.file, f"{pod.where}.serviceAccountName", "ServiceAccount", account)
    volumes = set(claims)
    for volume in pod.spec.get("volumes", []):
        where = f"{pod.where}.volumes.{volume['name']}"
        volumes.add(volume["name"])
        if "configMap" in volume:
            yield from _need(known, pod.file, where, "ConfigMap", volume["configMap"].get("name"))
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"].get("claimName")
            yield from _need(known, pod.file, where, "PersistentVolumeClaim", claim)
        if "secret" in volume:
            for item in volume["secret"].get("items", [{"key": ""}]):
                yield from _secret(pod.file, where, volume["secret"].get("secretName"), item["key"], secrets)
    for where, container in pod.containers():
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield Fault(pod.file, f"{where}.volumeMounts.{mount['name']}", f"the pod has only {sorted(volumes)}")
        for entry in container.get("envFrom", []):
            if "configMapRef" in entry:
                yield from _need(known, pod.file, f"{where}.envFrom", "ConfigMap", entry["configMapRef"]["name"])
            if "secretRef" in entry:
                yield from _secret(pod.file, f"{where}.envFrom", entry["secretRef"]["name"], "", secrets)
        for entry in container.get("env", []):
            source, place = entry.get("valueFrom", {}), f"{where}.env.{entry['name']}"
            if "secretKeyRef" in source:
                key = source["secretKeyRef"]
                yield from _secret(pod.file, place, key["name"], key["key"], secrets)
            if "configMapKeyRef" in source:
                key = source["configMapKeyRef"]
                yield from _need(known, pod.file, place, "ConfigMap", key["name"], key["key"])


def _need(
    known: Mapping[str, Any], file: str, where: str, kind: str, name: str | None, key: str = ""
) -> Iterator[Fault]:
    value = known.get(f"{kind}/{name}")
    if value is None:
        yield Fault(file, where, f"there is no {kind} {name}")
    elif key and key not in value.get("data", {}):
        yield Fault(file, where, f"{kind} {name} has no {key}")


def _secret(file: str, where: str, name: str | None, key: str, secrets: Mapping[str, set[str]]) -> Iterator[Fault]:
    if name is None or name not in secrets:
        yield Fault(file, where, f"no command of k8s/README.md creates the Secret {name}")
    elif key and key not in secrets[name]:
        yield Fault(file, where, f"k8s/README.md creates the Secret {name} without {key}")


def _selected(service: Resource, there: Iterable[PodSpec]) -> Iterator[Fault]:
    """A Service finds pods, and its port one of theirs."""
    spec = service.value["spec"]
    chosen = [pod for pod in there if spec["selector"].items() <= pod.labels.items()]
    if not chosen:
        yield Fault(service.file, f"{service.name}.spec.selector", f"no pod has the labels {spec['selector']}")
        return
    names = _port_names(chosen)
    for port in spec["ports"]:
        if port.get("targetPort", port["port"]) not in names:
            yield Fault(
                service.file, f"{service.name}.spec.ports.{port.get('name')}", "no container has its targetPort"
            )


def _scraped(monitor: Resource, there: Iterable[PodSpec]) -> Iterator[Fault]:
    """A PodMonitor finds pods; each of its ports is one of theirs, and none of them is left out."""
    spec, where = monitor.value["spec"], f"{monitor.name}.spec"
    wanted = spec.get("selector", {}).get("matchLabels", {})
    chosen = [pod for pod in there if wanted.items() <= pod.labels.items()] if wanted else []
    if not chosen:
        yield Fault(monitor.file, f"{where}.selector", f"no pod has the labels {wanted}")
        return
    ports = [endpoint.get("port") for endpoint in spec.get("podMetricsEndpoints", [])]
    for port in ports:
        if port not in _port_names(chosen):
            yield Fault(monitor.file, f"{where}.podMetricsEndpoints.{port}", "no container has a port of this name")
    for pod in chosen:
        if not _port_names([pod]) & set(ports):
            yield Fault(monitor.file, f"{where}.podMetricsEndpoints", f"{pod.where} has none of the ports {ports}")


def _port_names(chosen: Iterable[PodSpec]) -> set[Any]:
    """Names and numbers of the ports of pods."""
    ports = [port for pod in chosen for _, container in pod.containers() for port in container.get("ports", [])]
    return {port.get("name") for port in ports} | {port["containerPort"] for port in ports}


def _twice(resources: Iterable[Resource]) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for resource in resources:
        if resource.name in seen:
            yield Fault(resource.file, resource.name, f"is in {seen[resource.name]} too")
        seen[resource.name] = resource.file
