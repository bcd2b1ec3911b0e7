"""Rules for NetworkPolicies: everything is shut first, and what the services need is opened on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from checking.faults import Fault
from checking.kustomize import Resource
from checking.pods import PodSpec, pods


def network_faults(resources: Iterable[Resource]) -> Iterator[Fault]:
    """What is missing or too much of a rendered set with pods that listen."""
    resources = list(resources)
    policies = [r for r in resources if r.value["kind"] == "NetworkPolicy"]
    there = [pod for resource in resources for pod in pods(resource)]
    file = policies[0].file if policies else resources[0].file
    if not any(_shuts_all(policy.value["spec"]) for policy in policies):
        yield Fault(file, "NetworkPolicy", "none shuts all pods (podSelector {}, both policyTypes, no rules)")
    if not any(_opens_names(policy.value["spec"]) for policy in policies):
        yield Fault(file, "NetworkPolicy", "none lets all pods ask for names (port 53, UDP and TCP)")
    for policy in policies:
        yield from _open(policy, there)
    for service in (r for r in resources if r.value["kind"] == "Service"):
        chosen = [pod for pod in there if service.value["spec"]["selector"].items() <= pod.labels.items()]
        for port in service.value["spec"]["ports"]:
            if not any(_admits(p.value["spec"], pod, port["port"]) for p in policies for pod in chosen):
                yield Fault(service.file, f"{service.name}.spec.ports.{port.get('name')}", "no NetworkPolicy opens it")


def _shuts_all(spec: dict[str, Any]) -> bool:
    both = set(spec.get("policyTypes", [])) == {"Ingress", "Egress"}
    return spec.get("podSelector") == {} and both and not spec.get("ingress") and not spec.get("egress")


def _opens_names(spec: dict[str, Any]) -> bool:
    ports = {
        (port.get("protocol"), port.get("port")) for rule in spec.get("egress", []) for port in rule.get("ports", [])
    }
    return spec.get("podSelector") == {} and {("UDP", 53), ("TCP", 53)} <= ports


def _open(policy: Resource, there: Iterable[PodSpec]) -> Iterator[Fault]:
    """Rules without a peer, and selectors that choose nobody."""
    spec, where = policy.value["spec"], f"{policy.name}.spec"
    selectors = [(f"{where}.podSelector", spec.get("podSelector", {}))]
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for number, rule in enumerate(spec.get(direction, [])):
            place = f"{where}.{direction}[{number}]"
            if not rule.get(peers):
                yield Fault(policy.file, place, f"opens to everybody; allowed is a rule with {peers!r}")
            for peer in rule.get(peers, []):
                if direction == "ingress" and peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    yield Fault(policy.file, place, "opens to everybody")
                if "namespaceSelector" not in peer and "podSelector" in peer:
                    selectors.append((place, peer["podSelector"]))
    known = {tuple(pod.labels.items()) for pod in there} | {
        (("stargan-ray/part", "submit"),)
    }  # jobs' pods, of other sets
    for place, selector in selectors:
        if selector and not any(_matches(selector, dict(labels)) for labels in known):
            yield Fault(policy.file, place, f"no pod is chosen by {selector}")


def _admits(spec: dict[str, Any], pod: PodSpec, port: int) -> bool:
    ports = [p.get("port") for rule in spec.get("ingress", []) for p in rule.get("ports", [])]
    return _matches(spec.get("podSelector", {}), pod.labels) and port in ports


def _matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(
        labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", [])
        if rule["operator"] == "In"
    )
