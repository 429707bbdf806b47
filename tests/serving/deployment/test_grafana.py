"""The dashboard asks for metrics that there are."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.models.manager import ModelManager
from serving.rpc.metrics import Metrics
from serving.scheduling.admission import Admission

TENSORFLOW_SERVINGS_OWN = {":tensorflow:serving:batching_session:queuing_latency"}
"""With `thread_pool_name`, from its batching_session.cc."""
OF_THE_CLUSTER = {
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kube_pod_container_resource_limits",
}
"""Of cAdvisor and kube-state-metrics."""
NAME = re.compile(r"(?<![\w:])(?::\w+:[\w:]+|(?:process|container|kube)_\w+)")


@pytest.fixture(scope="module")
def dashboard(folder: Path, valid: Callable[[str, Any], None]) -> Any:
    document = json.loads((folder / "grafana.json").read_text())
    valid("grafana", document)
    return document


@pytest.fixture(scope="module")
def expressions(dashboard: Any) -> list[str]:
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return found + [entry["query"]["query"] for entry in dashboard["templating"]["list"] if entry["type"] == "query"]


def test_every_metric_is_told_by_a_server_or_by_the_cluster(expressions: list[str], manager: ModelManager) -> None:
    families = text_string_to_metric_families(Metrics(manager, Admission(1, 1, 1)).text().decode())
    told = {family.name for family in families}
    told |= {f"{name}_total" for name in told} | {f"{name}_bucket" for name in told | TENSORFLOW_SERVINGS_OWN}
    asked = {name for expression in expressions for name in NAME.findall(expression)}
    assert len(asked) > 8
    assert asked - told - OF_THE_CLUSTER == set()


def test_expressions_are_closed_and_use_the_dashboards_variables(expressions: list[str], dashboard: Any) -> None:
    known = {entry["name"] for entry in dashboard["templating"]["list"]} | {"__rate_interval"}
    for expression in expressions:
        assert expression.count("(") == expression.count(")")
        assert expression.count("{") == expression.count("}")
        assert set(re.findall(r"\$(\w+)", expression)) <= known


def test_panels_do_not_cover_each_other(dashboard: Any) -> None:
    places = set()
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        covered = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not covered & places
        places |= covered
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
