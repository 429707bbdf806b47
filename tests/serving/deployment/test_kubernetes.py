"""The manifests for Kubernetes and KServe."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.rest.app import METRICS_PATH

Valid = Callable[[str, Any], None]
Grace = Callable[[list[str]], float]


@pytest.fixture(scope="module")
def objects(folder: Path) -> dict[str, Any]:
    """Those for Kubernetes alone, by kind."""
    documents = [yaml.safe_load(path.read_text()) for path in (folder / "kubernetes").glob("*.yaml")]
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def inference_services(folder: Path) -> list[Any]:
    return list(yaml.safe_load_all((folder / "kserve.yaml").read_text()))


def test_they_follow_their_schema(objects: dict[str, Any], inference_services: list[Any], valid: Valid) -> None:
    assert set(objects) == {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    for document in [*objects.values(), *inference_services]:
        valid("kubernetes", document)


def test_the_schema_finds_what_is_forgotten_or_misspelt(objects: dict[str, Any], valid: Valid) -> None:
    for path in (("resources", "limits", "memory"), ("readinessProbe", "grpc"), ("securityContext", "capabilities")):
        document = copy.deepcopy(objects["Deployment"])
        holder = document["spec"]["template"]["spec"]["containers"][0]
        for part in path[:-1]:
            holder = holder[part]
        holder[f"{path[-1]}s"] = holder.pop(path[-1])
        with pytest.raises(jsonschema.ValidationError):
            valid("kubernetes", document)


def test_pods_get_the_time_that_the_server_takes(
    objects: dict[str, Any], inference_services: list[Any], grace: Grace
) -> None:
    for pod in (objects["Deployment"]["spec"]["template"]["spec"], inference_services[0]["spec"]["predictor"]):
        container = pod["containers"][0]
        waits = container.get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
        before = float(waits["exec"]["command"][1])
        # Twice a second beyond --grace: for cancelled requests, and for computations that end.
        assert pod["terminationGracePeriodSeconds"] > before + grace(container["args"]) + 2


def test_probes_and_ports_are_the_servers(objects: dict[str, Any], inference_services: list[Any]) -> None:
    for pod in (objects["Deployment"]["spec"]["template"]["spec"], inference_services[0]["spec"]["predictor"]):
        container = pod["containers"][0]
        assert "--port=8500" in container["args"]
        assert container["ports"][0]["containerPort"] == 8500
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["grpc"]["port"] == 8500
        # A server without its model must be replaced by none: it gets no requests.
        assert container["readinessProbe"]["grpc"]["service"] == "keras_sare"
        assert "service" not in container["livenessProbe"]["grpc"]


def test_metrics_are_asked_for_where_they_are_told(objects: dict[str, Any], inference_services: list[Any]) -> None:
    template = objects["Deployment"]["spec"]["template"]
    inference = inference_services[0]
    for prefix, annotations, pod in (
        ("prometheus.io", template["metadata"]["annotations"], template["spec"]),
        ("prometheus.kserve.io", inference["metadata"]["annotations"], inference["spec"]["predictor"]),
    ):
        assert annotations[f"{prefix}/path"] == METRICS_PATH
        assert f"--rest_port={annotations[f'{prefix}/port']}" in pod["containers"][0]["args"]


def test_everything_selects_the_pods_of_the_deployment(objects: dict[str, Any]) -> None:
    spec = objects["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert objects["Service"]["spec"]["selector"] == labels
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"]: port["containerPort"] for port in spec["template"]["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"]: port["port"] for port in objects["Service"]["spec"]["ports"]} == ports
    scaled = objects["HorizontalPodAutoscaler"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    # Or no pod could ever be moved.
    assert scaled["minReplicas"] > objects["PodDisruptionBudget"]["spec"]["minAvailable"]


def test_the_model_is_where_the_volume_is(objects: dict[str, Any], inference_services: list[Any]) -> None:
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["/models/keras_sare"]["readOnly"]
    assert "--model=/models/keras_sare" in pod["containers"][0]["args"]
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}
    assert "--model=/mnt/models" in inference_services[0]["spec"]["predictor"]["containers"][0]["args"]


def test_requests_of_memory_are_below_the_limit(objects: dict[str, Any], inference_services: list[Any]) -> None:
    holders = [objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]]
    holders += [inference_services[0]["spec"]["predictor"]["containers"][0]]
    holders += [inference_services[1]["spec"]["predictor"]["model"]]
    for holder in holders:
        sizes = [holder["resources"][kind]["memory"] for kind in ("requests", "limits")]
        requested, limit = (int(re.sub(r"Gi$", "", size)) for size in sizes)
        assert requested <= limit
