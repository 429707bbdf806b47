"""The program that makes place indexes, from photos to what it says of an index."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_sare.datasets import ImageSet
from keras_sare.localization import Candidates, DescriptorLocalizer, PlaceIndex
from keras_sare.localization.reranking.lazy_photos import LazyPhotos
from keras_sare.localization.reranking.reranked import Reranked
from serving.index import building, calibrating
from serving.index.__main__ import main
from serving.index.map_photos import MapSettings, walks_of
from serving.locate.__main__ import main as locate

pytest.importorskip("lancedb")

PLACES = 30


def write_photos(root: Path, seed: int, split: str = "test") -> None:
    """A photo of each place for the database and two queries, of stripes that tell the place; one is turned."""
    generator = np.random.default_rng(seed)
    looks = np.random.default_rng(0).integers(0, 255, (PLACES, 6, 8, 3))
    lines = ["image,role,split,easting,northing,heading,traversal"]
    for role, copies in (("database", 1), ("query", 2)):
        (root / role).mkdir(parents=True, exist_ok=True)
        for place in range(PLACES):
            for copy in range(copies):
                noisy = looks[place] + generator.normal(0, 40 * copy, looks[place].shape)
                picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).resize((64, 48), 0)
                exif = Image.Exif()
                if place == 0 and role == "database":
                    picture = picture.transpose(Image.Transpose.ROTATE_90)
                    exif[0x0112] = 6
                name = f"{role}/{seed}_{place}_{copy}.jpg"
                picture.save(root / name, exif=exif, quality=95)
                lines.append(f"{name},{role},{split},{place * 100},{seed},{place},walk {seed}")
    (root / "places.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def flags(model: Path) -> list[str]:
    return [f"--model={model}", "--image_size=48,64"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder, seed=1)
    (folder / "database" / "1_9_0.jpg").write_bytes(b"no photo")
    return folder


def test_an_index_is_built_grows_and_shrinks(
    root: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "index"
    main(["build", str(place), f"--root={root}", *flags, "--calibrate=test", "--max_corrupt_share=0.1"])
    said = capsys.readouterr().out
    assert f"{place}: {PLACES - 1} photos" in said
    assert "positions: easting, northing, metres" in said
    assert f"calibrated on {2 * PLACES} photos" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]

    measured = tmp_path / "accuracy"
    asked = ["--split=test", f"--root={root}", *flags, f"--output={measured}", "--radius=10"]
    main(["evaluate", str(place), *asked])
    said = capsys.readouterr().out
    assert f"index: {2 * PLACES} photos of test among {PLACES - 1}" in said
    assert (measured / "accuracy.md").read_text() == said
    numbers = json.loads((measured / "accuracy.json").read_text())["measures"]
    with (measured / "answers.csv").open(newline="") as file:
        right = [abs(float(row["easting"]) - 100 * (i // 2)) <= 10 for i, row in enumerate(csv.DictReader(file))]
    assert 0.5 < numbers["answers within 10 m"]["value"] == np.mean(right) < 1
    with Image.open(measured / "accuracy.png") as picture:
        assert picture.width > 1000
    with pytest.raises(SystemExit, match="The split must be one of test"):
        main(["evaluate", str(place), *asked[1:], "--split=val"])

    write_photos(tmp_path / "more", seed=2)
    more = ["append", str(place), f"--root={tmp_path / 'more'}", *flags, "--no_thumbnails", "--name_prefix=more/"]
    main(more)
    assert f"{2 * PLACES - 1} photos" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--replace.*: 30 names, of which 30 are there, such as 'more/database/2_0"):
        main(more)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["accuracy", "index", "more"]
    main(["calibrate", str(place), f"--root={tmp_path / 'more'}", *flags, "--split=test"])
    assert f"{2 * PLACES - 1} photos" in (said := capsys.readouterr().out)
    assert f"calibrated on {2 * PLACES} photos" in said
    main(["remove", str(place), "database/1_0_0.jpg", "database/nowhere.jpg"])
    assert "Removed 1 of 2 photos; 58 are left." in capsys.readouterr().out
    record = place / "index.json"
    record.write_text(record.read_text().replace('"model_name": "', r'"model_name": "\u001b[31m'))
    main(["info", str(place)])
    assert "58 photos" in (said := capsys.readouterr().out)
    assert r"32 of \x1b[31m" in said
    assert "\x1b" not in said


class Stripes:
    """Finds as many shared points as two photos' first stripes are alike; what is asked of it is counted."""

    asked = 0

    def rerank(self, candidates: Candidates, photos: Sequence[np.ndarray], chosen: np.ndarray) -> Reranked:
        inliers = np.full(candidates.scores.shape, -1)
        for row in np.flatnonzero(chosen):
            self.asked += 1
            assert photos[row].shape == (48, 64, 3)
            inliers[row, :3] = np.where(candidates.scores[row, :3] > 0.5, 1000 * candidates.scores[row, :3], 0)
        return Reranked.ordered(candidates, inliers)

    def lazy(self, photos: Sequence[str]) -> LazyPhotos:
        return LazyPhotos(photos, longer_side=64)


def test_answers_of_each_way_are_calibrated_and_measured_beside_photos_alone(
    root: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "index"
    listed = (root / "places.csv").read_text().replace(",traversal", "").replace(",walk 1", "")
    data = tmp_path / "data"
    shutil.copytree(root, data)
    lines = listed.splitlines()
    # Two photos of each of three places, and then a step of kilometres: every other walk is found.
    queries = [line.split(",") for line in lines if ",query," in line]
    for number, line in enumerate(queries):
        line[4] = str(float(line[4]) + 5000 * (number // 6 % 2))
    (data / "places.csv").write_text("\n".join([lines[0], *lines[1 : PLACES + 1], *map(",".join, queries)]) + "\n")
    main(["build", str(place), f"--root={data}", *flags, "--max_corrupt_share=0.1", "--no_thumbnails"])
    compares = Stripes()
    opened: list[tuple[int, Sequence[str]]] = []

    def open_rerankers(first: int, folders: Sequence[str], maps: Mapping[str, Path]) -> dict[str, Stripes]:
        opened.append((first, folders))
        return dict.fromkeys(maps, compares)

    monkeypatch.setattr(calibrating, "open_rerankers", open_rerankers)
    root_flags = [f"--root={root}", *flags, "--split=test"]
    rerank = ["--rerank=3", f"--map_photos={root}"]
    capsys.readouterr()
    main(["calibrate", str(place), *root_flags, *rerank])
    assert compares.asked == 2 * PLACES
    assert opened == [(3, [str(root)])]
    said = capsys.readouterr().out
    assert f"answers alone: calibrated on {2 * PLACES} photos" in said
    assert f"answers re-ranked: calibrated on {2 * PLACES} photos" in said
    assert "of walks" not in said
    record = PlaceIndex(place).record
    assert set(record.calibrations) >= {"photos", "reranked"}

    measured = tmp_path / "accuracy"
    for way, title in (
        (rerank, "Re-ranked where unsure, 3 candidates:"),
        (["--sequence", "--speed=50"], "Walk by walk, 50 m from photo to photo:"),
        (["--rough=200"], "Known within 200 m:"),
    ):
        main(["evaluate", str(place), *root_flags, f"--output={measured}", *way])
        said = capsys.readouterr().out
        alone, other = said.split(title)
        assert "Each alone:" in alone
        assert alone.count("recall@1 ") == other.count("recall@1 ") == 1
        tables = [json.loads((measured / f"{name}.json").read_text())["measures"] for name in ("alone", "accuracy")]
        assert tables[0] != tables[1]
    for wrong, message in (
        (["--rerank=3"], "--rerank and --map_photos go together"),
        (["--rough=9", "--sequence"], "are measured one at a time"),
    ):
        with pytest.raises(SystemExit, match=message):
            main(["evaluate", str(place), *root_flags, f"--output={measured}", *wrong])
    main(["calibrate", str(place), f"--root={data}", *flags, "--split=test", "--walk_gap=1000", "--speed=150"])
    again = PlaceIndex(place).record
    assert set(again.calibrations) >= {"photos", "reranked", "walks"}
    assert again.reranked == record.reranked
    with pytest.raises(SystemExit, match="must have traversals for --sequence"):
        main(["evaluate", str(place), f"--root={data}", *flags, f"--output={measured}", "--sequence"])


def test_walks_are_those_of_the_list_or_end_where_it_jumps() -> None:
    images = ImageSet(np.array([*"abcde"]), np.array([[0, 0], [5, 0], [500, 0], [505, 0], [0, 0]], np.float64))
    assert walks_of(images) == []
    assert [walk.tolist() for walk in walks_of(images, 50.0)] == [[0, 1], [2, 3], [4]]
    named = ImageSet(images.paths, images.positions, traversals=np.array(["b", "a", "b", "a", "b"]))
    assert [walk.tolist() for walk in walks_of(named, 50.0)] == [[1, 3], [0, 2, 4]]


def test_answers_are_those_of_the_photos_that_went_in(root: Path, flags: list[str], tmp_path: Path) -> None:
    settings = MapSettings(root, flags[0].removeprefix("--model="), image_size=("48", "64"), max_corrupt_share=0.1)
    index = building.build(tmp_path / "index", settings)
    model = settings.open_model()
    queries = np.array([str(root / f"query/1_{place}_0.jpg") for place in range(PLACES) if place != 9])
    descriptors = np.zeros((len(queries), index.record.dim), np.float32)
    model.extract(queries, 8, descriptors)
    answers = DescriptorLocalizer(index, k=1).locate(descriptors)
    places = [place for place in range(PLACES) if place != 9]
    assert answers.candidates.names[:, 0].tolist() == [f"database/1_{place}_0.jpg" for place in places]
    np.testing.assert_allclose(answers.positions, [[place * 100, 1] for place in places])
    np.testing.assert_allclose(answers.candidates.headings[:, 0], places)
    assert set(answers.candidates.traversals[:, 0]) == {"walk 1"}
    (tmp_path / "small.jpg").write_bytes(index.thumbnail("database/1_0_0.jpg") or b"")
    with Image.open(tmp_path / "small.jpg") as upright, Image.open(queries[0]) as other:
        assert upright.size == (64, 48)
        assert not upright.getexif()
        assert np.abs(np.asarray(upright, np.float64) - np.asarray(other)).mean() < 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--root=nowhere"], "nowhere"),
        (["--model=nowhere.keras"], "nowhere.keras"),
        (["--calibrate=val"], "The split must be one of test"),
        ([], "at most 0 may"),
    ],
)
def test_what_cannot_be_built_is_told_in_one_line_and_leaves_no_index(
    root: Path, flags: list[str], tmp_path: Path, change: list[str], message: str
) -> None:
    share = ["--max_corrupt_share=0.1"] if change else ["--max_corrupt_share=0"]
    with pytest.raises(SystemExit, match=message) as ended:
        main(["build", str(tmp_path / "index"), f"--root={root}", *flags, *share, *change])
    assert "\n" not in str(ended.value)
    assert not (tmp_path / "index").exists()


def test_a_full_disk_is_told_before_the_photos_are_extracted(
    root: Path, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "free_bytes", lambda _: 300_000)
    message = r"29 photos of 32 numbers take about 0.00 GB, .*0.00 GB are free: make room"
    with pytest.raises(SystemExit, match=message):
        main(["build", str(tmp_path / "index"), f"--root={root}", *flags, "--max_corrupt_share=0.1"])
    assert [path.name for path in tmp_path.rglob("*.npy")] == []
    main(["build", str(tmp_path / "index"), f"--root={root}", *flags, "--max_corrupt_share=0.1", "--no_thumbnails"])


def test_photos_of_another_model_or_without_positions_are_refused(
    root: Path, flags: list[str], tmp_path: Path, model: Path
) -> None:
    place = tmp_path / "index"
    main(["build", str(place), f"--root={root}", *flags, "--max_corrupt_share=0.1", "--no_thumbnails"])
    assert PlaceIndex(place).thumbnail("database/1_1_0.jpg") is None
    other = keras.saving.load_model(model)
    other.layers[2].set_weights([2 * array for array in other.layers[2].get_weights()])
    other.save(tmp_path / "other.keras")
    for command, change, message in (
        ("append", [f"--model={tmp_path / 'other.keras'}"], "`model` must be the one that the index was built with"),
        ("build", [], "`index` must be new; use append"),
    ):
        with pytest.raises(SystemExit, match=message):
            main([command, str(place), f"--root={root}", *flags, *change])
    (tmp_path / "places").mkdir()
    (tmp_path / "places" / "places.csv").write_text("image,role,split,place\na.jpg,database,test,tower\n")
    with pytest.raises(SystemExit, match="must have positions"):
        main(["build", str(tmp_path / "new"), f"--root={tmp_path / 'places'}", *flags])


def test_a_folder_of_geotagged_photos_needs_no_list(flags: list[str], tmp_path: Path) -> None:
    root = tmp_path / "walk"
    root.mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    for number in range(3):
        exif = Image.Exif()
        gps = {1: "N", 2: (51.0, 30.0, float(number)), 3: "W", 4: (0.0, 6.0, 0.0), 16: "T", 17: 90.0}
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
        exif.get_ifd(ExifTags.IFD.Exif)[0x9003] = f"2026:11:28 21:30:{10 * number:02d}"
        picture.save(root / f"{number}.jpg", exif=exif)
    picture.save(root / "without.jpg")
    main(["build", str(tmp_path / "index"), f"--root={root}", *flags])
    index = PlaceIndex(tmp_path / "index")
    assert index.record.kind == "degrees"
    found = index.search(np.eye(1, index.record.dim), k=4)
    order = np.argsort(found.names[0, :3])
    assert found.names[0].tolist()[3] == ""
    np.testing.assert_allclose(found.positions[0, order], [[51.5 + i / 3600, -0.1] for i in range(3)], atol=1e-9)
    np.testing.assert_array_equal(found.headings[0, :3], 90)
    assert found.timestamps[0, order].tolist() == [f"2026-11-28T21:30:{10 * i:02d}" for i in range(3)]
    for photo in root.glob("?.jpg"):
        photo.unlink()
    with pytest.raises(SystemExit, match="none of 1 photos has a position") as ended:
        main(["build", str(tmp_path / "other"), f"--root={root}", *flags])
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize("axes", ["easting,northing", "latitude,longitude"])
def test_photos_are_located_as_table_csv_and_geojson(
    root: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], axes: str
) -> None:
    data = tmp_path / "data"
    write_photos(data, seed=1)
    lines = (data / "places.csv").read_text().replace("easting,northing", axes).splitlines()
    if axes.startswith("latitude"):
        fields = [line.split(",") for line in lines]
        lines = [lines[0], *(",".join([*f[:3], str(float(f[3]) / 1e5), f[4], *f[5:]]) for f in fields[1:])]
    (data / "places.csv").write_text("\n".join(lines) + "\n")
    place = tmp_path / "index"
    main(["build", str(place), f"--root={data}", *flags, "--no_thumbnails"])
    photos = [str(data / "query" / f"1_{i}_0.jpg") for i in (4, 7)]
    (tmp_path / "no.jpg").write_bytes(b"no photo")
    capsys.readouterr()
    hostile = tmp_path / "\x1b[31m7.jpg"
    hostile.write_bytes(Path(photos[1]).read_bytes())
    locate([str(place), *photos, str(hostile), str(tmp_path / "no.jpg"), *flags, "--k=1"])
    printed = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" as ")[2] for line in printed] == [f"database/1_{i}_0.jpg" for i in (4, 7, 7)]
    assert printed[2].startswith(f"{tmp_path}/\\x1b[31m7.jpg: ")
    locate([str(place), *photos, *flags, "--k=1", f"--output={tmp_path / 'answers.csv'}"])
    with (tmp_path / "answers.csv").open(newline="") as file:
        answers = [*csv.DictReader(file)]
    assert [answer["most_similar"] for answer in answers] == ["database/1_4_0.jpg", "database/1_7_0.jpg"]
    assert [answer["probability"] for answer in answers] == ["", ""]
    first = axes.split(",")[0]
    np.testing.assert_allclose(
        [float(answer[first]) for answer in answers], np.array([400, 700]) * (1e-5 if first == "latitude" else 1)
    )
    output = tmp_path / "answers.geojson"
    if first == "easting":
        with pytest.raises(SystemExit, match="GeoJSON wants latitude and longitude"):
            locate([str(place), *photos, *flags, f"--output={output}"])
        return
    locate([str(place), *photos, *flags, "--k=1", f"--output={output}", "--near=0.004,1", "--within=50"])
    features = json.loads(output.read_text())["features"]
    np.testing.assert_allclose(features[0]["geometry"]["coordinates"], [1, 0.004], atol=1e-9)
    with pytest.raises(SystemExit, match="`near` must be two numbers"):
        locate([str(place), *photos, *flags, "--near=here"])
