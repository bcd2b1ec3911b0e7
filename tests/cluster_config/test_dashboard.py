"""The dashboard asks for metrics that exist, and for all of ours; each rule for it is seen to complain.

pytest tests/cluster_config/test_dashboard.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checking.dashboards import asked_names, dashboard_faults, known_names
from checking.kubernetes import set_faults
from checking.kustomize import Resource, render

from stargan_ray.errors import InputError
from stargan_ray.runtime.gauges import exported_names

ROOT = Path(__file__).parents[2]
MONITORED = ROOT / "k8s/overlays/example/monitored"
FILE = ROOT / "k8s/components/monitoring/stargan-ray.json"


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return render(MONITORED)


def dashboard() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_it_comes_as_a_config_map_with_its_monitor_and_its_door(resources: list[Resource]) -> None:
    added = {resource.name: resource.value for resource in resources}
    for resource in render(ROOT / "k8s/overlays/example/cluster"):
        added.pop(resource.name)
    assert set(added) == {"ConfigMap/grafana-stargan-ray", "PodMonitor/stargan-ray", "NetworkPolicy/metrics"}
    made = added["ConfigMap/grafana-stargan-ray"]
    assert made["metadata"] == {
        "name": "grafana-stargan-ray",
        "labels": {"grafana_dashboard": "1"},
        "namespace": "stargan-ray",
    }
    assert json.loads(made["data"]["stargan-ray.json"]) == dashboard()


def test_it_shows_every_metric_that_the_code_registers_and_no_other() -> None:
    asked = asked_names(dashboard())
    ours = {name for name in asked if name.startswith("ray_stargan_")}
    assert ours == exported_names()
    assert asked - ours <= known_names() - exported_names()
    assert {"ray_node_gpus_utilization", "ray_object_store_memory"} <= asked


def expression(number: int, text: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        panels = [panel for panel in value["panels"] if panel["type"] != "row"]
        panels[number]["targets"][0]["expr"] = text

    return change


def variable(value: Any) -> None:
    value["templating"]["list"][1]["query"] = "label_values(ray_stargan_steps{}, run)"


def source(value: Any) -> None:
    value["panels"][1]["datasource"]["uid"] = "prometheus-1"


def twice(value: Any) -> None:
    value["panels"][2]["id"] = value["panels"][1]["id"]


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (expression(0, "ray_stargan_image_per_second{}"), "Images a second.A", "ray_stargan_image_per_second"),
        (expression(0, "ray_node_cpu{}"), "Images a second.A", "exports ray_node_cpu"),
        (expression(0, "sum by (ray_io_cluster) (ray_stargan_step)"), ".A", "allowed is ray_stargan_step{}"),
        (expression(0, ""), "", ""),
        (variable, "templating.run", "exports ray_stargan_steps"),
        (source, "Images a second.datasource", "allowed is ${datasource}"),
        (twice, ".panels", "two panels have one id"),
        (lambda value: value.pop("uid"), ".uid", "is not there"),
        (lambda value: value["panels"][1].pop("targets"), "Images a second", "asks for nothing"),
    ],
)
def test_a_fault_of_a_dashboard_is_named(change: Callable[[Any], None], field: str, said: str) -> None:
    value = dashboard()
    change(value)
    made = {"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"grafana_dashboard": "1"}}}
    faults = list(dashboard_faults(Resource("f", {**made, "data": {"x.json": json.dumps(value)}})))
    assert [fault.field.endswith(field) and said in fault.what for fault in faults] == [True] * bool(said), faults


def test_a_dashboard_that_is_no_json_is_named() -> None:
    made = {"kind": "ConfigMap", "metadata": {"name": "x", "labels": {"grafana_dashboard": "1"}}}
    (fault,) = dashboard_faults(Resource("f", {**made, "data": {"x.json": "{"}}))
    assert "no JSON" in fault.what


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (lambda spec: spec.update(selectr={}), "spec.selectr", "a PodMonitor has no such field"),
        (lambda spec: spec["podMetricsEndpoints"][0].update(prt=1), "[0].prt", "a PodMonitor has no such field"),
        (lambda spec: spec["selector"].update(matchLabels={"a": "b"}), "spec.selector", "no pod has the labels"),
        (lambda spec: spec["podMetricsEndpoints"][0].update(port="metric"), "Endpoints.metric", "no container"),
        (lambda spec: spec["podMetricsEndpoints"].pop(0), "podMetricsEndpoints", "workerGroupSpecs[0]"),
    ],
)
def test_a_fault_of_a_pod_monitor_is_named(change: Callable[[Any], Any], field: str, said: str) -> None:
    resources = render(MONITORED)
    (monitor,) = [resource for resource in resources if resource.value["kind"] == "PodMonitor"]
    change(monitor.value["spec"])
    faults = list(set_faults(ROOT, resources))
    assert any(fault.field.endswith(field) and said in fault.what for fault in faults), faults


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("{name: x, files: [pod.yaml]}", "disableNameSuffixHash: true"),
        ("{name: x, literals: [a=b], options: {disableNameSuffixHash: true}}", "allowed are a name, files"),
        ("{name: x, files: [no.json], options: {disableNameSuffixHash: true}}", "No such file"),
    ],
)
def test_a_config_map_that_our_reader_would_make_otherwise_is_refused(made: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text("x")
    (tmp_path / "kustomization.yaml").write_text(f"configMapGenerator: [{made}]\n")
    with pytest.raises(InputError, match=said):
        render(tmp_path)
