"""Grafana's dashboards in ConfigMaps: they can be read, and ask for metrics alone that somebody exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from checking.faults import Fault
from checking.kustomize import Resource
from stargan_ray.runtime.gauges import exported_names

_LABEL = "grafana_dashboard"
_NAME = re.compile(r"\b(?:ray|autoscaler|stargan)_\w+")
_ASKED = re.compile(r"(\w+)\{")  # a metric is written with its braces, also empty ones: so it is told from a label


def dashboard_faults(resource: Resource) -> Iterator[Fault]:
    """What is wrong with the dashboards of an object; none where it holds none."""
    if resource.value["kind"] != "ConfigMap" or _LABEL not in resource.value["metadata"].get("labels", {}):
        return
    for name, text in resource.value.get("data", {}).items():
        where = f"{resource.name}.data.{name}"
        try:
            dashboard = json.loads(text)
        except ValueError as error:
            yield Fault(resource.file, where, f"no JSON: {error}")
            continue
        yield from _dashboard(resource.file, where, dashboard)


def asked_names(dashboard: Mapping[str, Any]) -> set[str]:
    """Every metric that a dashboard's panels and variables ask for."""
    return {name for _, query in _queries(dashboard) for name in _ASKED.findall(query)}


@cache
def known_names() -> frozenset[str]:
    """Metrics of ours, and those that the dashboards of the installed Ray ask for."""
    import ray

    folder = Path(ray.__file__).parent / "dashboard/modules/metrics/dashboards"
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*_panels.py"))]
    found = {name for text in texts for name in re.findall(r"\b(\w+)\{\{", text)}
    assert "ray_node_cpu_utilization" in found
    return exported_names() | found


def _dashboard(file: str, where: str, dashboard: Mapping[str, Any]) -> Iterator[Fault]:
    for key in ("uid", "title", "schemaVersion", "panels"):
        if key not in dashboard:
            yield Fault(file, f"{where}.{key}", "is not there")
    numbers = [panel.get("id") for panel in dashboard.get("panels", [])]
    if len(set(numbers)) != len(numbers):
        yield Fault(file, f"{where}.panels", "two panels have one id")
    for panel in dashboard.get("panels", []):
        place = f"{where}.panels.{panel.get('title')}"
        if panel.get("type") != "row" and not panel.get("targets"):
            yield Fault(file, place, "asks for nothing")
        if panel.get("type") != "row" and panel.get("datasource", {}).get("uid") != "${datasource}":
            yield Fault(file, f"{place}.datasource", "allowed is ${datasource}: another Grafana has other sources")
    for place, query in _queries(dashboard):
        for name in sorted(set(_ASKED.findall(query)) - known_names()):
            yield Fault(file, f"{where}.{place}", f"neither Ray nor this package exports {name}")
        outside = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", lambda found: found[0][0], query)
        for name in sorted(set(_NAME.findall(outside)) - set(_ASKED.findall(query))):
            yield Fault(file, f"{where}.{place}", f"{name}: allowed is {name}{{}}, so that it is known for a metric")


def _queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each with its place."""
    for variable in dashboard.get("templating", {}).get("list", []):
        if variable.get("type") == "query":
            yield f"templating.{variable['name']}", str(variable.get("query", ""))
    for panel in dashboard.get("panels", []):
        for target in panel.get("targets", []):
            yield f"panels.{panel.get('title')}.{target.get('refId')}", str(target.get("expr", ""))
