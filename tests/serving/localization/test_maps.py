"""Maps by their names: what others write to them is seen, and what cannot be read harms nobody."""

import ast
import base64
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import serving
from keras_sare.localization import Candidates, IndexRecord, Localizer, PhotoModel, PlaceIndex, PlaceRows
from keras_sare.localization.reranking.lazy_photos import LazyPhotos
from keras_sare.localization.reranking.reranked import Reranked, compare
from serving.errors import RequestError
from serving.limits import Limits
from serving.localization.maps import Maps
from serving.localization.track import track_of
from serving.models.manager import ModelManager
from serving.rest.app import rest_app
from serving.rpc.backend import Backend
from serving.scheduling.quota import Quota

from .conftest import encoded, picture, rows


@pytest.fixture
def town(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may write to."""
    return Path(shutil.copytree(folders["town"], tmp_path / "town"))


def test_maps_are_named_by_their_folders_or_as_asked(folders: dict[str, Path], tmp_path: Path) -> None:
    maps = Maps([str(folders["town"]), f"port={folders['harbour']}"])
    assert maps.names == ["town", "port"]
    (tmp_path / "a b").mkdir()
    for places, error, text in (
        ([str(folders["town"])] * 2, ValueError, "`index` must name each map once"),
        ([str(tmp_path / "a b")], ValueError, "`index` must have a map's name of letters"),
        ([f"../x={folders['town']}"], ValueError, "`index` must have a map's name of letters"),
        ([str(tmp_path)], FileNotFoundError, "`index` must be the folder of a place index"),
    ):
        with pytest.raises(error, match=text):
            Maps(places)


def test_a_map_is_described(served: SimpleNamespace, model: PhotoModel) -> None:
    town, harbour = served.http.get("/v1/maps").json()
    assert (town["name"], town["photos"], town["kind"], town["calibrated"]) == ("town", 40, "degrees", True)
    assert town["bounds"] == [[51, 51], [pytest.approx(51.0095), pytest.approx(51.0019)]]
    assert (harbour["kind"], harbour["calibrated"], harbour["digest"]) == ("metres", False, model.identity)
    assert harbour["built"].endswith("+00:00")
    track = served.http.get("/v1/maps/harbour/track").json()
    assert sorted(track["positions"]) == [[50.0 * place, 1.0 * place] for place in range(20, 25) for _ in range(2)]


def test_what_was_appended_removed_or_built_anew_is_seen(
    town: Path, model: PhotoModel, caplog: pytest.LogCaptureFixture
) -> None:
    maps = Maps([str(town)])
    assert maps.description("town")["photos"] == 40
    PlaceIndex(town).append([rows(model, range(30, 32), "degrees")], model.identity)
    PlaceIndex(town).remove(["walk/0 & more/0.jpg"])
    PlaceIndex(town).calibrate()
    maps.poll()
    described = maps.description("town")
    assert (described["photos"], described["calibrated"]) == (43, False)
    assert len(maps.track("town")["positions"]) == 43

    town.rename(town.with_name("away"))
    assert maps.description("town") == described
    with caplog.at_level(logging.ERROR):
        maps.poll()
        maps.poll()
    assert caplog.text.count("map town stays as it was") == 1
    photos = rows(model, range(3), "metres")
    PlaceIndex.create(town, IndexRecord(model.identity, "m", photos.descriptors.shape[1]), [photos])
    maps.poll()
    assert maps.description("town")["kind"] == "metres"
    assert maps.thumbnail("town", "walk/0 & more/0.jpg") == encoded(picture(0, 0))


def test_a_map_of_another_model_is_refused_at_the_start_and_when_the_model_changes(
    town: Path, folders: dict[str, Path], manager: ModelManager
) -> None:
    record = town / "index.json"
    record.write_text(record.read_text().replace('"model": "', '"model": "0'))
    backend = Backend(manager, Limits(), 1, 1, None, Quota(), None, maps=(Maps([str(town)]), "small"))
    assert backend.localization is not None
    assert not backend.localization.is_ready()
    with pytest.raises(ValueError, match="map town: `model` must be the one that the index was built with"):
        backend.localization.check()
    photo = {"content": encoded(picture(3, 0)), "headers": {"content-type": "image/jpeg"}}
    with TestClient(rest_app(backend)) as client:
        answer = client.post("/v1/localize", **photo)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("map town was built with another model than the one that is served")
        shutil.copy(folders["town"] / "index.json", record)
        backend.localization.maps.poll()
        assert client.post("/v1/localize", **photo).json()["answers"][0]["map"] == "town"
    assert backend.localization.is_ready()
    backend.admission.close()


class LastFirst:
    """Says that a photo has more in common with a candidate the less similar it is."""

    def rerank(
        self, candidates: Candidates, photos: Sequence[np.ndarray], chosen: np.ndarray, check: object = None
    ) -> Reranked:
        def inliers(photo: int, names: list[str]) -> np.ndarray:
            assert photos[photo].shape == (48, 64, 3)
            return 100 ** np.arange(len(names)) - 1

        return compare(candidates, 3, chosen, inliers)

    def lazy(self, photos: Sequence[str | Path | bytes]) -> LazyPhotos:
        return LazyPhotos(photos, 64)


def test_unsure_answers_are_re_ranked_where_a_map_has_its_photos(
    folders: dict[str, Path], manager: ModelManager, model: PhotoModel
) -> None:
    maps = Maps([str(folder) for folder in folders.values()], {"town": LastFirst()})
    backend = Backend(manager, Limits(), 1, 1, None, Quota(), None, maps=(maps, "small"))
    photos = [encoded(picture(place, 70)) for place in (3, 22)]
    body = {"photos": [{"b64": base64.b64encode(photo).decode()} for photo in photos], "k": 4, "precision": 1}
    with TestClient(rest_app(backend)) as client:
        answers = client.post("/v1/localize", json=body).json()["answers"]
    backend.admission.close()
    expected = Localizer(folders, model, k=4, precision=1, rerankers={"town": LastFirst()}).locate(photos)
    for answer, one in zip(answers, expected, strict=True):
        assert [found["name"] for found in answer["candidates"]] == [found.name for found in one.candidates]
        assert answer["position"] == one.position
    (before,) = Localizer(folders["town"], model, k=4, precision=1).locate(photos[:1])
    assert answers[0]["candidates"][0]["name"] == before.candidates[2].name


class TooLong(LastFirst):
    """Compares candidates until the request's time is over."""

    def rerank(
        self, candidates: Candidates, photos: Sequence[np.ndarray], chosen: np.ndarray, check: Any = None
    ) -> Reranked:
        check()
        assert check.__self__.seconds_left() <= 60
        check.__self__.deadline = 0.0
        check()
        raise AssertionError("compared")


def test_candidates_are_no_longer_compared_once_the_request_has_taken_its_time(
    folders: dict[str, Path], manager: ModelManager
) -> None:
    maps = Maps([str(folders["harbour"])], {"harbour": TooLong()})
    backend = Backend(manager, Limits(seconds=60), 1, 0, None, Quota(), None, maps=(maps, "small"))
    body = {"photos": [{"b64": base64.b64encode(encoded(picture(22, 70))).decode()}]}
    with TestClient(rest_app(backend)) as client:
        answer = client.post("/v1/localize", json=body)
    assert answer.status_code == 504
    assert answer.json()["error"] == "The deadline was over before the answer"
    assert backend.admission.wait_until_idle(timeout=30)
    backend.admission.close()


def test_a_map_whose_files_have_gone_is_unavailable_until_they_are_back(
    town: Path, manager: ModelManager, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Backend(manager, Limits(), 1, 1, None, Quota(), None, maps=(Maps([str(town)]), "small"))
    away = town.with_name("away")
    ways = {
        "/v1/maps": None,
        "/v1/maps/town/track": None,
        "/v1/maps/town/thumbnails?name=walk/3 %26 more/6.jpg": None,
        "/v1/localize": encoded(picture(3, 70)),
    }
    with TestClient(rest_app(backend)) as client:

        def asked(path: str, photo: bytes | None) -> Any:
            method = "POST" if photo else "GET"
            return client.request(method, path, content=photo, headers={"content-type": "image/jpeg"})

        town.rename(away)
        for path, photo in ways.items():
            answer = asked(path, photo)
            assert answer.status_code == 503, path
            assert answer.json()["error"] == "map town cannot be read at the moment; the server's log tells why"
        assert "no place index any more" in caplog.text
        away.rename(town)
        assert [asked(path, photo).status_code for path, photo in ways.items()] == [200] * 4
    backend.admission.close()


def test_a_server_without_maps_imports_nothing_of_them() -> None:
    folder = Path(serving.__file__).parent
    apart = {"localization", "index", "locate", "page"}
    files = [path for path in folder.rglob("*.py") if path.relative_to(folder).parts[0] not in apart]
    assert len(files) > 50
    for path in files:
        imported = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name for node in imported for name in _modules(node)} - {"serving.localization.messages"}
        assert not [name for name in names if name.startswith(("serving.localization", "keras_sare.localization"))], (
            path
        )


def _modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def test_a_model_that_cannot_tell_damaged_photos_is_refused(folders: dict[str, Path], model_folder: Path) -> None:
    manager = ModelManager.from_folder("tiny", model_folder)
    backend = Backend(manager, Limits(), 1, 1, None, Quota(), None, maps=(Maps([str(folders["town"])]), "tiny"))
    assert backend.localization is not None
    with pytest.raises(ValueError, match="`model` must have the signature 'tolerant' to locate photos"):
        backend.localization.check()
    backend.admission.close()


def test_tracks_of_many_photos_are_thinned_out_evenly(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    positions = np.concatenate([generator.normal(0, 1, (900, 2)), generator.uniform(-50, 50, (100, 2))])
    descriptors = np.tile(np.eye(1, 4), (1000, 1))
    photos = PlaceRows([str(number) for number in range(1000)], descriptors, positions)
    index = PlaceIndex.create(tmp_path / "index", IndexRecord("m", "m", 4), [photos])
    track = track_of(index, most=200)
    kept = np.array(track.positions)
    assert track.photos == 1000
    assert 60 < len(kept) <= 200
    np.testing.assert_allclose(track.bounds, [positions.min(axis=0), positions.max(axis=0)])
    # Each photo has one of those that are kept in its cell of a grid of 14 x 14.
    cells = np.ptp(positions, axis=0) / 14
    apart = np.abs(positions[:, None] - kept[None]) / cells
    assert (apart.max(axis=2).min(axis=1) <= 1).all()
    index.remove([str(number) for number in range(1000)])
    assert track_of(index).bounds is None


def test_a_track_is_bounded_also_where_photos_come_while_it_is_read() -> None:
    class Growing:
        version = 1
        photos = 150

        def positions(self) -> Iterator[np.ndarray]:
            yield np.arange(2.0 * self.photos).reshape(-1, 2)
            self.photos = 700

    growing = Growing()
    assert len(track_of(growing, most=200).positions) == 150
    assert len(track_of(growing, most=200).positions) <= 200


def test_unknown_maps_are_not_found(folders: dict[str, Path]) -> None:
    maps = Maps([str(folders["town"])])
    for read in (maps.description, maps.track, maps.__getitem__):
        with pytest.raises(RequestError, match="`maps` must be some of town"):
            read("x" * 10_000)
