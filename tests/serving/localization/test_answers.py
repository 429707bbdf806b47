"""One photo, one answer: by REST, by gRPC, in Python and on the command line."""

import asyncio
import base64
import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import keras_sare
from keras_sare.localization import Motion, PhotoModel, Prior
from serving.client import AsyncEmbeddingClient, EmbeddingClient, EmbeddingError, RequestSettings
from serving.descriptors.descriptor_model import DescriptorModel, Rows
from serving.locate.__main__ import main as locate
from serving.locate.locating import Request, located, open_maps

from .conftest import encoded, picture


def b64(photo: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(photo).decode()}


def without_thumbnails(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for answer in answers:
        for candidate in answer.get("candidates", ()):
            candidate.pop("thumbnail")
    return answers


def test_rest_grpc_and_python_say_the_same(
    served: SimpleNamespace, folders: dict[str, Path], model: PhotoModel
) -> None:
    photos = [encoded(picture(place, 99)) for place in (3, 22)]
    photos += [b"no photo", encoded(picture(8, 98), "PNG"), encoded(picture(5, 5), "GIF")]
    options = {"k": 7, "precision": 1}
    answer = served.http.post("/v1/localize", json={"photos": [b64(photo) for photo in photos], **options})
    assert answer.status_code == 200
    answers = answer.json()["answers"]
    assert [one.get("map") for one in answers] == ["town", "harbour", None, "town", "town"]
    assert answers[2] == {"error": "not a JPEG, PNG, GIF or WebP image"}
    assert answers[0]["candidates"][0]["name"].startswith("walk/3 & more/")
    assert 0 < answers[0]["probability"] < 1
    assert answers[0]["uncertainty"] <= 300
    assert answers[1]["probability"] is None
    thumbnail = served.http.get(answers[0]["candidates"][0]["thumbnail"])
    assert (thumbnail.status_code, thumbnail.headers["content-type"]) == (200, "image/jpeg")
    assert "max-age" in thumbnail.headers["cache-control"]
    assert thumbnail.headers["x-content-type-options"] == "nosniff"
    assert thumbnail.content.startswith(b"\xff\xd8\xff")

    plain = without_thumbnails(answers)
    python = keras_sare.Localizer(folders, model, **options).locate(photos, batch=2)
    assert json.loads(json.dumps([one.to_json() for one in python])) == plain
    assert served.client.localize(photos, **options) == python
    for photo, expected in zip(photos, plain, strict=True):
        kind = "gif" if photo.startswith(b"GIF") else "jpeg"
        one = served.http.post("/v1/localize?k=7&precision=1", content=photo, headers={"content-type": f"Image/{kind}"})
        assert without_thumbnails(one.json()["answers"]) == [expected]


def test_the_client_for_asyncio_says_the_same(served: SimpleNamespace, files: list[str]) -> None:
    photos = [*files, b"no photo"]
    bound = RequestSettings(max_bytes=max(Path(file).stat().st_size for file in files))

    async def asked() -> None:
        async with AsyncEmbeddingClient(served.client.address, "small") as client:
            assert await client.localize(photos, batch_size=1, k=4) == served.client.localize(photos, k=4)
            walk = await client.localize(files, batch_size=1, sequence=True)
            assert walk == served.client.localize(files, sequence=True)
            assert await client.localize([]) == []
            with pytest.raises(EmbeddingError, match="`k` must be a whole number"):
                await client.localize(photos, k=0)
            with pytest.raises(FileNotFoundError, match="nowhere"):
                await client.localize(["nowhere.jpg"])
        async with AsyncEmbeddingClient(served.client.address, "small", settings=bound) as small:
            with pytest.raises(ValueError, match="The photos of a sequence must fit one request"):
                await small.localize(files, sequence=True)

    asyncio.run(asked())


def test_what_is_known_already_is_kept_to(served: SimpleNamespace, folders: dict[str, Path], model: PhotoModel) -> None:
    photos = [encoded(picture(place, 96)) for place in (7, 8, 9)]
    photos.insert(1, b"no photo")
    localizer = keras_sare.Localizer(folders, model)
    known = {"near": [51.002, 51.0004], "within": 120, "time_of_day": "6:30", "maps": ["town"]}
    answers = served.client.localize(photos, **known)
    prior = Prior(np.array(known["near"]), known["within"], known["time_of_day"])
    assert answers == localizer.locate(photos, prior, maps=["town"])
    found = [candidate for answer in answers for candidate in answer.candidates]
    assert {candidate.timestamp for candidate in found} == {f"2020-01-01T{hour:02}:00" for hour in (4, 5, 6)}

    together = {"sequence": True, "precision": 0.5}
    walk = served.client.localize(photos, batch_size=1, **together)
    assert walk == keras_sare.Localizer(folders, model, precision=0.5).locate(photos, walk=Motion())
    rest = served.http.post("/v1/localize", json={"photos": [b64(photo) for photo in photos], **together})
    assert without_thumbnails(rest.json()["answers"]) == json.loads(json.dumps([one.to_json() for one in walk]))
    assert [one.error for one in walk] == [None, "not a JPEG, PNG, GIF or WebP image", None, None]
    bound = RequestSettings(max_bytes=max(map(len, photos)))
    with EmbeddingClient(served.client.address, "small", settings=bound) as small:
        assert small.localize(photos) == served.client.localize(photos)
        with pytest.raises(ValueError, match="The photos of a sequence must fit one request"):
            small.localize(photos, sequence=True)
    assert [one.surest for one in walk].count(True) == 1
    assert walk[1].surest is None
    slow = served.client.localize(photos, **together, speed=2.5)
    assert slow == keras_sare.Localizer(folders, model, precision=0.5).locate(photos, walk=Motion(speed=2.5))
    # No calibration of theirs is of walks.
    for name, known in (("harbour", True), ("town", False)):
        (way,) = served.client.localize(photos[:1], maps=[name], sequence=True)
        assert (way.probability, way.known) == (None, known)


class InThisProcess(DescriptorModel):
    """The model as the command has it, but for the process of its own."""

    def __init__(self, model: PhotoModel) -> None:
        super().__init__("small", model.identity, None)
        object.__setattr__(self, "model", model)

    model: PhotoModel

    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        out[np.arange(len(paths))] = self.model.extract([Path(path).read_bytes() for path in paths.tolist()])[0]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{place}.jpg" for place in (3, 11, 22)]
    for path in paths:
        path.write_bytes(encoded(picture(int(path.stem), 97)))
    return [str(path) for path in paths]


def test_files_on_the_command_line_have_the_same_answers(
    served: SimpleNamespace, folders: dict[str, Path], model: PhotoModel, files: list[str], tmp_path: Path
) -> None:
    maps = open_maps({name: str(folder) for name, folder in folders.items()}, 9, 0.9)
    answers = dict(located(maps, InThisProcess(model), Request([*files], Prior()), tmp_path / "work"))
    assert [answers[file] for file in files] == served.client.localize(files, k=9)


@pytest.mark.slow
def test_the_command_says_the_same(
    served: SimpleNamespace, folders: dict[str, Path], exported: Path, files: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "answers.csv"
    locate([str(folders["town"]), *files, f"--model={exported}", "--k=9", f"--output={output}"])
    with output.open(newline="") as file:
        lines = [*csv.DictReader(file)]
    for line, answer in zip(lines, served.client.localize(files, k=9, maps=["town"]), strict=True):
        assert line["known"] == str(answer.known)
        assert line["most_similar"] == answer.candidates[0].name
        position = answer.position or {}
        numbers = [position["latitude"], position["longitude"], answer.probability, answer.uncertainty]
        assert [float(line[name]) for name in ("latitude", "longitude", "probability", "uncertainty_m")] == (
            pytest.approx(numbers, rel=1e-6)
        )
