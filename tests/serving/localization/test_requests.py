"""What is refused, and within which bounds, by REST and gRPC alike; what programs are told of it."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from serving.client import EmbeddingError
from serving.limits import Limits
from serving.localization.maps import Maps
from serving.localization.messages import METHOD, SERVICE, LocalizeRequest
from serving.models.manager import ModelManager
from serving.rest.app import rest_app
from serving.rpc.access_log import AccessLog
from serving.rpc.backend import Backend
from serving.rpc.credentials import Tokens
from serving.scheduling.quota import Quota

from .conftest import encoded, picture

PHOTO = encoded(picture(3, 90))
B64 = {"b64": base64.b64encode(PHOTO).decode()}
Connect = Callable[..., TestClient]


@pytest.fixture
def connect(manager: ModelManager, folders: dict[str, Path]) -> Any:
    """Connects to an application in this process with limits of its own."""
    backends = []

    def connected(limits: Limits = Limits(), quota: Quota = Quota(), **settings: Any) -> TestClient:  # noqa: B008
        given = {"max_workers": 1, "max_queue": 0, "tokens": None, "log": None, **settings}
        maps = Maps([str(folder) for folder in folders.values()])
        backends.append(Backend(manager, limits, quota=quota, maps=(maps, "small"), **given))
        return TestClient(rest_app(backends[-1]))

    yield connected
    for backend in backends:
        backend.admission.close()


WRONG = [
    ({"k": 0}, "`k` must be a whole number from 1 to 100. Received: k=0"),
    ({"k": 101}, "`k` must be a whole number from 1 to 100"),
    ({"precision": 0}, "`precision` must be a number above 0 and at most 1"),
    ({"precision": 1.5}, "`precision` must be a number above 0 and at most 1"),
    ({"near": [1]}, "`near` must be two numbers as the maps have them"),
    ({"near": [1] * 3}, "`near` must be two numbers as the maps have them"),
    ({"near": [51, 0], "within": -1, "maps": ["town"]}, "`within` must be a positive number of metres"),
    ({"within": 5}, "`within` must come with `near`"),
    ({"near": [91, 0], "maps": ["town"]}, "latitude"),
    ({"near": [51, 0]}, "`near` must be given with `maps` of one kind of positions"),
    ({"maps": ["town", "town"]}, "`maps` must be a list of different names"),
    ({"maps": ["x"] * 65}, "`maps` must be a list of 1 to 64 names"),
    ({"time_of_day": "25:00"}, "`time_of_day` must be a time of day"),
]
WRONG_JSON = [
    ({"k": "7"}, "`k` must be a whole number from 1 to 100. Received: k='7'"),
    ({"k": True}, "`k` must be a whole number"),
    ({"k": 10**400}, "`k` must be a whole number"),
    ({"k": None}, "`k` must be a whole number"),
    ({"precision": [0.9]}, "`precision` must be a number"),
    ({"near": "here"}, "`near` must be two numbers"),
    ({"near": [1, 10**400]}, "`near` must be two numbers"),
    ({"near": [1, [2]]}, "`near` must be two numbers"),
    ({"near": [51, 0], "within": 10**400}, "`within` must be a positive number"),
    ({"maps": "town"}, "`maps` must be a list of 1 to 64 names"),
    ({"maps": [3]}, "`maps` must be a list of 1 to 64 names"),
    ({"maps": []}, "`maps` must be a list of 1 to 64 names"),
    ({"sequence": "yes"}, "`sequence` must be true or false"),
    ({"speed": 5}, "`speed` must come with `sequence`"),
    *(({"sequence": True, "speed": wrong}, "`speed` must be a number of metres above 0") for wrong in (0, 1e5, "5")),
    ({"top": 5}, "The request must have `photos` and no options but k, precision, near,"),
    ({"photos": []}, "`photos` must hold one photo at least"),
    ({"photos": [B64] * 17}, "`photos` must hold at most 16 photos (`max_images`)"),
    ({"photos": B64}, "`photos` must be a list of files in base64"),
    ({"photos": ["text"]}, "`photos` must be a list of files in base64"),
    ({"photos": [{"b64": "§"}]}, "`photos` must hold base64"),
]


def test_a_wrong_request_is_told_in_a_line_what_was_expected(served: SimpleNamespace) -> None:
    for options, text in [*WRONG, *WRONG_JSON]:
        answer = served.http.post("/v1/localize", content=json.dumps({"photos": [B64], **options}))
        error = answer.json()["error"]
        assert answer.status_code == 400, options
        assert text in error, options
        assert "\n" not in error
        assert len(error) < 300
    for options, text in WRONG:
        with pytest.raises(EmbeddingError) as refused:
            served.client.localize([PHOTO], **options)
        assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT, options
        assert text in str(refused.value), options
    # As curl sends a file by default.
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = served.http.post("/v1/localize", content=PHOTO, headers=form)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("a photo that comes with its type, as in Content-Type: image/jpeg")
    with pytest.raises(ValueError, match="The options must be those of LocalizeRequest"):
        served.client.localize([PHOTO], k="many")
    assert served.client.localize([]) == []


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("k=many", "`k` must be a whole number from 1 to 100. Received: k='many'"),
        ("k=" + "9" * 5000, "`k` must be a whole number"),
        ("k=3&k=4", "The address must name each option once"),
        ("near=51.5", "`near` must be two numbers"),
        ("near=51.5,-0.1,3", "`near` must be two numbers"),
        ("near=51.5,nan", "`near` must be two numbers"),
        ("maps=town,town", "`maps` must be a list of different names"),
        ("sequence=1", "`sequence` must be true or false"),
        ("b64=1", "no options but"),
    ],
)
def test_options_of_an_address_are_checked_alike(served: SimpleNamespace, query: str, text: str) -> None:
    answer = served.http.post(f"/v1/localize?{query}", content=PHOTO, headers={"content-type": "image/jpeg"})
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_other_addresses_and_maps_are_refused(served: SimpleNamespace) -> None:
    for path, code, text in (
        ("/v1/maps/village/track", 404, "`maps` must be some of town, harbour. Received: 'village'"),
        ("/v1/maps/village/thumbnails?name=a", 404, "`maps` must be some of town, harbour"),
        ("/v1/maps/town/thumbnails?name=../../index.json", 404, "The map has no thumbnail of such a photo"),
        ("/v1/maps/town/thumbnails?name=' OR 1=1 --", 404, "The map has no thumbnail of such a photo"),
        ("/v1/maps/town/thumbnails?name=%00%ff", 404, "The map has no thumbnail of such a photo"),
        ("/v1/maps/town/thumbnails", 400, "The address must have one `name`"),
        (f"/v1/maps/town/thumbnails?name={'a' * 1025}", 400, "The address must have one `name`"),
        ("/v1/localize", 400, "Malformed request: GET /v1/localize"),
    ):
        answer = served.http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (code, "application/json"), path
        assert text in answer.json()["error"]
    answer = served.http.post("/v1/localize", json={"photos": [B64], "maps": ["village"]})
    assert answer.status_code == 404
    answer = served.http.post("/v1/localize?k=3", json={"photos": [B64]})
    assert answer.json()["error"].startswith("The options must stand in the JSON")


def test_limits_tokens_quota_log_and_metrics_are_those_of_predictions(connect: Connect) -> None:
    stream = io.StringIO()
    log = AccessLog(stream)
    settings = {"tokens": Tokens({"garden": "0123456789abcdef"}), "log": log}
    client = connect(Limits(images=2, message_bytes=20_000), Quota(images_per_second=0.2), **settings)
    for path in ("/v1/maps", "/v1/maps/town/track", "/v1/maps/town/thumbnails?name=a"):
        assert client.get(path).status_code == 401
    assert client.post("/v1/localize", json={"photos": [B64]}).status_code == 401
    client.headers["authorization"] = "Bearer 0123456789abcdef"
    assert client.post("/v1/localize", json={"photos": [B64] * 3}).status_code == 400
    assert client.post("/v1/localize", json={"photos": [B64] * 2}).status_code == 200
    assert client.post("/v1/localize", json={"photos": [B64]}).status_code == 429
    assert client.post("/v1/localize", content=b" " * 20_001).status_code == 413
    text = client.get("/monitoring/prometheus/metrics").text
    for limit in ("max_images", "max_client_images_per_second", "max_message_bytes"):
        assert f':keras_sare:serving:refusals{{limit="{limit}"}} 1.0\n' in text
    assert 'request_latency_count{API="localize",entrypoint="REST",model_name="small"} 1.0\n' in text
    log.close()
    records = [json.loads(line) for line in stream.getvalue().splitlines()]
    answered = next(record for record in records if record["code"] == "OK" and record["method"] == "REST/localize")
    assert (answered["model"], answered["version"], answered["images"]) == ("small", 5, 2)
    assert answered["client"] == "garden"


def test_what_only_reads_the_maps_is_bounded_by_the_same_quota_and_counts_as_little(connect: Connect) -> None:
    """Ten seconds of it are one photo, or an answer's twenty thumbnails; a track is as much as five."""
    client = connect(quota=Quota(images_per_second=0.1, clock=lambda: 0.0))
    thumbnail = "/v1/maps/town/thumbnails?name=walk/3 %26 more/6.jpg"
    paths = ("/v1/maps", "/v1/maps/town/track", thumbnail)
    assert [client.get(path).status_code for path in (*paths, *[thumbnail] * 13)] == [200] * 16
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 429, path
        assert "(`max_client_images_per_second`)" in answer.json()["error"]
    assert client.post("/v1/localize", json={"photos": [B64]}).status_code == 429
    assert client.get("/openapi.json").status_code == 200


def test_answers_are_as_described_for_programs(served: SimpleNamespace) -> None:
    document = served.http.get("/openapi.json").json()
    answers = {
        "Located": served.http.post("/v1/localize", json={"photos": [B64, {"b64": ""}], "k": 3}),
        "Maps": served.http.get("/v1/maps"),
        "Track": served.http.get("/v1/maps/harbour/track"),
        "Error": served.http.get("/v1/maps/village/track"),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(answer.json())
        described = [path for path in document["paths"] if path.startswith(("/v1/localize", "/v1/maps"))]
    assert len(described) == 4
    request = {"$ref": "#/components/schemas/LocalizeRequest", "components": document["components"]}
    refused = [{"photos": [B64], **options} for options, _ in WRONG_JSON if "photos" not in options]
    assert not any(Draft202012Validator(request).is_valid(body) for body in refused)


def test_the_service_is_named_by_health_and_reflection_and_bounded(served: SimpleNamespace) -> None:
    with grpc.insecure_channel(served.server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        assert check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20).status == 1
        services = ProtoReflectionDescriptorDatabase(channel)
        assert SERVICE in services.get_services()
        assert METHOD in str(services.FindFileContainingSymbol(SERVICE))
        localize = channel.unary_unary(f"/{SERVICE}/{METHOD}")
        for data, text in (
            (b"\xff\xff", "The request is no LocalizeRequest"),
            (b"\x0a\x00" * 2**15, "The request must have at most 16384 fields"),
            (LocalizeRequest(photos=[b""] * 17).SerializeToString(), "`photos` must hold at most 16 photos"),
            (b"", "`photos` must hold one photo at least"),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                localize(data, timeout=20)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.value.details().startswith(text)
