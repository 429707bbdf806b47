"""Batches, walks and two folders without labels, with a model that sees a few pixels."""

import csv
import json
import os
import re
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_sare.localization import (
    Calibration,
    Candidates,
    DescriptorLocalizer,
    IndexRecord,
    Motion,
    PlaceIndex,
    PlaceRows,
    Prior,
)
from keras_sare.localization.reranking.lazy_photos import LazyPhotos
from keras_sare.localization.reranking.reranked import Reranked
from serving.descriptors import open_models
from serving.descriptors.descriptor_model import DescriptorModel, Rows
from serving.localization.rerankers import open_rerankers
from serving.locate import __main__ as program
from serving.locate.answer_files import write_answers
from serving.locate.locating import Request, axes_of, located, open_maps
from serving.locate.matching import match_folders, write_matches

pytest.importorskip("lancedb")

PLACES = 10
LOOKS = np.random.default_rng(0).integers(0, 255, (PLACES, 3, 4, 3))
LOOKS[5] = LOOKS[1]  # Two places that look alike.
POSITIONS = np.stack([51.5 + 1e-3 * np.arange(PLACES), np.full(PLACES, -0.1)], axis=1)


class Pixels(DescriptorModel):
    """Its descriptor is the picture itself; it may be stopped after some photos, as by a kill."""

    def __init__(self, most: int = 1000) -> None:
        super().__init__("pixels", "pixels", None)
        object.__setattr__(self, "seen", [])
        object.__setattr__(self, "most", most)

    seen: list[str]
    most: int

    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        for row, path in enumerate(paths.tolist()):
            if len(self.seen) == self.most:
                raise KeyboardInterrupt
            self.seen.append(path)
            with Image.open(path) as picture:
                values = np.asarray(picture.resize((4, 3), 0), np.float32).ravel() - 127
            out[np.array([row])] = (values / np.linalg.norm(values))[None]


def write_photo(path: Path, place: int, seconds: int | None = None, near: np.ndarray | None = None) -> None:
    exif = Image.Exif()
    if seconds is not None:
        exif[ExifTags.Base.DateTime] = f"2026:05:01 12:00:{seconds:02d}"
    if near is not None:
        latitude, longitude = np.abs(near).tolist()
        gps = {1: "N", 2: (latitude, 0.0, 0.0), 3: "W", 4: (longitude, 0.0, 0.0)}
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(LOOKS[place].astype(np.uint8)).resize((64, 48), 0).save(path, exif=exif)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PlaceIndex:
    folder = tmp_path_factory.mktemp("map")
    for place in range(PLACES):
        write_photo(folder / f"{place}.png", place)
    descriptors = np.zeros((PLACES, 36), np.float32)
    Pixels().extract(np.array([str(folder / f"{place}.png") for place in range(PLACES)]), 8, descriptors)
    rows = PlaceRows([f"{place}.png" for place in range(PLACES)], descriptors, POSITIONS)
    return PlaceIndex.create(folder / "index", IndexRecord("pixels", "pixels", 36, "degrees"), [rows])


def places_of(answers: list[tuple[str, object]]) -> dict[str, int | None]:
    """Name of each photo and the place of its answer, in the order of the answers."""
    found = {}
    for photo, answer in answers:
        position = answer.position  # type: ignore[attr-defined]
        found[Path(photo).name] = None if position is None else round((position["latitude"] - 51.5) / 1e-3)
    return found


def test_a_run_that_was_stopped_goes_on_with_the_photos_that_are_left(index: PlaceIndex, tmp_path: Path) -> None:
    for place in range(PLACES):
        write_photo(tmp_path / "walk" / f"{place}.png", place)
    (tmp_path / "walk" / "no.jpg").write_bytes(b"no photo")
    maps = {"town": DescriptorLocalizer(index, k=1)}
    request = Request([str(tmp_path / "walk")], Prior(), batch=2)
    output = tmp_path / "answers.csv"
    stopped = Pixels(most=7)
    with pytest.raises(KeyboardInterrupt):
        write_answers(output, located(maps, stopped, request, tmp_path / "work"), axes_of(maps))
    assert not output.exists()
    again = Pixels()
    assert write_answers(output, located(maps, again, request, tmp_path / "work"), axes_of(maps)) == PLACES
    assert sorted(stopped.seen + again.seen) == [str(tmp_path / "walk" / f"{place}.png") for place in range(PLACES)]
    with output.open(newline="") as file:
        lines = [*csv.DictReader(file)]
    assert [line["map"] for line in lines] == ["town"] * PLACES
    np.testing.assert_allclose([float(line["latitude"]) for line in lines[6:]], POSITIONS[6:, 0], atol=1e-9)
    write_answers(tmp_path / "answers.geojson", located(maps, again, request, tmp_path / "work"), axes_of(maps))
    features = json.loads((tmp_path / "answers.geojson").read_text())["features"]
    np.testing.assert_allclose([one["geometry"]["coordinates"] for one in features][6:], POSITIONS[6:, ::-1], atol=1e-9)
    write_answers(tmp_path / "none.geojson", [], axes_of(maps))
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []


def test_a_rough_position_that_is_none_is_told_before_photos_are_extracted(index: PlaceIndex, tmp_path: Path) -> None:
    write_photo(tmp_path / "walk" / "3.png", 3)
    request = Request([str(tmp_path / "walk")], Prior(np.array([91.0, 0.0])))
    with pytest.raises(ValueError, match="`latitude` must be degrees"):
        next(located({"town": DescriptorLocalizer(index)}, Pixels(most=0), request, tmp_path / "work"))


@pytest.mark.parametrize("by_time", [True, False])
def test_each_folder_is_a_walk_in_the_order_that_is_asked_for(index: PlaceIndex, tmp_path: Path, by_time: bool) -> None:
    """Place 1 looks like place 5; the walks say which it is."""
    for walk, places in (("a", [3, 2, 1, 0]), ("b", [7, 6, 1, 4])):
        for step, place in enumerate(places):
            name = f"{walk}{9 - step if by_time else step}.png"
            write_photo(tmp_path / walk / name, place, seconds=step if by_time else None)
    request = Request([str(tmp_path)], Prior(), walk=Motion(speed=120.0), by_time=by_time)
    found = places_of([*located({"": DescriptorLocalizer(index)}, Pixels(), request, tmp_path / "work")])
    assert [*found.values()] == [3, 2, 1, 0, 7, 6, 5, 4]
    assert [*found] == sorted(found, key=lambda name: (name[0], -int(name[1]) if by_time else int(name[1])))


def test_a_photo_whose_name_is_no_text_harms_no_other(
    index: PlaceIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("3 % é #'.png", os.fsdecode(b"4 \xe9.png")):
        write_photo(tmp_path / "walk" / name, int(name[0]))
    maps = {"": DescriptorLocalizer(index)}
    request = Request([str(tmp_path / "walk")], Prior())
    assert places_of([*located(maps, Pixels(), request, tmp_path / "work")]) == {"3 % é #'.png": 3}
    assert "left out, for its name is not UTF-8" in caplog.text
    (tmp_path / "walk" / "3 % é #'.png").unlink()
    with pytest.raises(ValueError, match="one at least whose name is UTF-8"):
        next(located(maps, Pixels(), request, tmp_path / "work"))


def test_photos_may_say_themselves_where_they_were_roughly_taken(index: PlaceIndex, tmp_path: Path) -> None:
    for name, place in (("one", 1), ("five", 5)):
        write_photo(tmp_path / f"{name}.jpg", 1, near=POSITIONS[place] + 2e-4)
    write_photo(tmp_path / "three.jpg", 3)
    request = Request([str(tmp_path)], Prior(within=100.0), near_exif=True)
    maps = {"": DescriptorLocalizer(index)}
    assert places_of([*located(maps, Pixels(), request, tmp_path / "work")]) == {
        "one.jpg": 1,
        "five.jpg": 5,
        "three.jpg": 3,
    }


def test_photos_of_places_that_look_alike_are_compared_with_them(index: PlaceIndex, tmp_path: Path) -> None:
    class Fifth:
        """It finds nine points that a photo shares with place 5, and none with others."""

        asked: ClassVar[list[int]] = []

        def rerank(self, candidates: Candidates, photos: LazyPhotos, chosen: np.ndarray) -> Reranked:
            assert chosen.all()
            self.asked += [photo.shape[:2] for photo in photos]
            return Reranked.ordered(candidates, np.where(candidates.names == "5.png", 9, 0))

        def lazy(self, photos: list[str]) -> LazyPhotos:
            return LazyPhotos(photos, longer_side=32)

    for name in ("a", "b"):
        write_photo(tmp_path / f"{name}.png", 1)
    rerankers = {"town": Fifth()}
    maps = open_maps({"town": str(index.folder)}, 5, 0.9, rerankers)
    request = Request([str(tmp_path)], Prior(), lazy=rerankers["town"].lazy)
    answers = [*located(maps, Pixels(), request, tmp_path / "work")]
    assert places_of(answers) == {"a.png": 5, "b.png": 5}
    assert Fifth.asked == [(24, 32)] * 2
    assert [answer.candidates[0].name for _, answer in answers] == ["5.png"] * 2


def test_a_folder_without_the_photos_of_the_map_is_refused_at_the_start(index: PlaceIndex, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"`map_photos` must be the folder .* in which there is no \d.png"):
        open_rerankers(5, [str(tmp_path)], {"town": index.folder})


def test_a_walk_has_one_surest_photo_and_is_not_sure_by_a_calibration_of_photos_alone(
    index: PlaceIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(open_models, "open_model", lambda *_: Pixels())
    for place in (2, 3, 4):
        write_photo(tmp_path / "walk" / f"{place}.png", place)
    asked = [str(tmp_path / "walk"), "--model=pixels", "--sequence", "--speed=120"]
    program.main([str(index.folder), *asked])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", as ")[1].split(";")[0] for line in lines] == ["2.png", "3.png", "4.png"]
    assert sum(line.endswith("; the surest of its walk") for line in lines) == 1
    assert "have no probability" not in caplog.text
    features = np.random.default_rng(0).uniform(0.1, 0.9, (60, 3))
    calibration = Calibration.fit(features, np.where(features[:, 0] > 0.5, 1.0, 99.0))
    folder = tmp_path / "index"
    shutil.copytree(index.folder, folder)
    PlaceIndex(folder).calibrate(calibration)
    program.main([str(folder), *asked])
    assert capsys.readouterr().out.count("not known") == 3
    assert "answers of walks have no probability and are not known" in caplog.text
    program.main([str(folder), *asked[:2], "--near=51.5,-0.1"])
    assert "answers near a rough position have no probability" in caplog.text


def test_maps_of_two_models_or_of_none_are_refused(index: PlaceIndex, tmp_path: Path) -> None:
    rows = PlaceRows(["a"], np.eye(36)[:1], np.zeros((1, 2)))
    PlaceIndex.create(tmp_path / "other", IndexRecord("other", "other", 36), [rows])
    PlaceIndex.create(tmp_path / "metres", IndexRecord("pixels", "pixels", 36), [rows])
    with pytest.raises(ValueError, match="`model` must be the one"):
        open_maps({"": str(index.folder), "other": str(tmp_path / "other")}, 5, 0.9)
    maps = open_maps({"": str(index.folder), "metres": str(tmp_path / "metres")}, 5, 0.9)
    assert axes_of(maps) == ["latitude", "longitude", "easting", "northing"]
    with pytest.raises(ValueError, match="EXIF has degrees"):
        next(located(maps, Pixels(), Request(["a.jpg"], Prior(), near_exif=True), tmp_path / "work"))


def test_two_folders_are_matched_without_any_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for place in range(4):
        write_photo(tmp_path / "database" / f"<b>{place}.png", place)
    for place in (2, 0):
        write_photo(tmp_path / "queries" / f"q{place}.jpg", place)
    (tmp_path / "queries" / "broken.jpg").write_bytes(b"no photo")
    sides = (str(tmp_path / "database"), str(tmp_path / "queries"))
    matches = match_folders(Pixels(), sides, 3, 8, tmp_path / "work")
    assert "broken.jpg" in caplog.text
    assert [Path(name).name for name in matches.found[:, 0].tolist()] == ["<b>0.png", "<b>2.png"]
    assert (np.diff(matches.scores) <= 0).all()
    for suffix in (".html", ".png", ".csv"):
        write_matches(tmp_path / f"matches{suffix}", matches)
    page = (tmp_path / "matches.html").read_text()
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["1: q0.jpg", "2: q2.jpg"]
    assert page.count("<img") == page.count('src="data:image/jpeg') == 8
    assert "<b>" not in page
    assert "<script" not in page
    with Image.open(tmp_path / "matches.png") as picture:
        assert picture.width > picture.height
    with (tmp_path / "matches.csv").open(newline="") as file:
        lines = [*csv.DictReader(file)]
    assert [line["rank"] for line in lines] == ["1", "2", "3"] * 2
    with pytest.raises(ValueError, match="`k` must be positive"):
        match_folders(Pixels(), sides, 0, 8, tmp_path / "work")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--database=a"], "go together"),
        (["--database=a", "--queries=b"], "want --output"),
        (["--database=a", "--queries=b", "--output=m.html", "index"], "no index"),
        (["index"], "An index and at least one photo"),
        (["--index=a"], "An index and at least one photo"),
        (["--index=x=a", "--index=x=b", "photo.jpg"], "each map once"),
        (["nowhere", "photo.jpg", "--time_of_day=9pm"], "nowhere"),
        (["index", "photo.jpg", "--rerank=5"], "--rerank and --map_photos go together"),
        (["index", "photo.jpg", "--map_photos=photos"], "--rerank and --map_photos go together"),
        (["index", "photo.jpg", "--rerank=5", "--map_photos=town=photos"], "`map_photos` must be"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message) as ended:
        program.main([*arguments, "--model=nowhere.keras"])
    assert "\n" not in str(ended.value)


def test_a_run_that_found_nothing_to_do_leaves_nothing_behind(
    index: PlaceIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_models, "open_model", lambda *_: Pixels())
    output = tmp_path / "answers.csv"
    with pytest.raises(SystemExit, match="that are there"):
        program.main([str(index.folder), str(tmp_path / "nowhere"), "--model=pixels", f"--output={output}"])
    assert not any(tmp_path.iterdir())
    write_photo(tmp_path / "walk" / "3.png", 3)
    program.main([str(index.folder), str(tmp_path / "walk"), "--model=pixels", f"--output={output}", "--sequence"])
    with output.open(newline="") as file:
        assert [line["surest"] for line in csv.DictReader(file)] == ["True"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv", "walk"]
