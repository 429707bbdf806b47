"""The description for programs: requests made from it are answered as it says."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from starlette.testclient import TestClient

from serving.limits import Limits
from serving.models.manager import ModelManager
from serving.rest.app import rest_app
from serving.rpc.backend import Backend
from serving.scheduling.quota import Quota

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def description(manager: ModelManager) -> Any:
    backend = Backend(manager, Limits(), max_workers=1, max_queue=1, tokens=None, quota=Quota(), log=None)
    return schemathesis.openapi.from_asgi("/openapi.json", rest_app(backend))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_requests_made_from_the_description_are_answered_as_it_says(description: Any, mode: GenerationMode) -> None:
    operations = [result.ok() for result in description.get_all_operations()]
    assert len(operations) == 10
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not operation.path_parameters:
            continue

        # Wrong requests are slow to make up.
        @settings(BOUNDED, max_examples=10 if mode is GenerationMode.POSITIVE else 3)
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)
            if mode is GenerationMode.POSITIVE and "name" in case.path_parameters:
                # Beyond the name, which nearly all others would fail at.
                case.path_parameters["name"] = "keras_sare"
                case.call_and_validate(checks=CHECKS)

        check()


def test_answers_of_each_kind_are_as_described(client: TestClient, manager: ModelManager) -> None:
    document = client.get("/openapi.json").json()
    body = {"signature_name": "combine", "inputs": {"left": [1.5], "right": 3}}
    rows = {"signature_name": "images", "instances": [[[[0.1, 0.2, 0.3]]]]}
    answers = {
        "Columns": client.post("/v1/models/keras_sare:predict", json=body),
        "Rows": client.post("/v1/models/keras_sare:predict", json=rows),
        "Status": client.get("/v1/models/keras_sare"),
        "Metadata": client.get("/v1/models/keras_sare/metadata"),
        "Error": client.get("/v1/models/other"),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator(schema).validate(answer.json())
