"""Descriptors of any source of photos in a place index, whatever breaks the extraction off."""

import csv
import functools
import hashlib
import io
import json
import pydoc
import sys
import tarfile
from itertools import count

import keras
import numpy as np
import pytest
from PIL import Image

import keras_sare
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto
from keras_sare.localization import PlaceIndex
from keras_sare.localization.storage import tables
from serving.index.__main__ import main as serving_index
from trainers import extract
from trainers.config import ExtractConfig
from trainers.stages.extract import estimate, left_out, models
from trainers.stages.extract.record import ExtractionRecord

pytest.importorskip("lancedb")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PHOTOS = 41
SIZE = (24, 32)


@pytest.fixture(scope="module")
def model(small_mac_file):
    return small_mac_file(16)


@pytest.fixture(scope="module")
def loaded(model):
    return keras.saving.load_model(model)


@pytest.fixture(scope="module", autouse=True)
def opened_once():
    """Opening a model and making its graph takes longer than describing all photos here; and so does measuring."""
    with pytest.MonkeyPatch.context() as patch:
        opened = functools.cache(models.open_model)
        patch.setattr(models, "open_model", opened)
        patch.setattr(estimate, "SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of two shapes, with the same positions in their EXIF, in a list, in a manifest and in tar files."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    rows = []
    for i in range(PHOTOS):
        pixels = random.integers(0, 256, ((6, 8, 3), (8, 6, 3))[i % 3 == 1], np.uint8).repeat(6, 0).repeat(6, 1)
        exif = Image.Exif()
        gps = {1: "N", 2: (51.0, float(i), 30.0), 3: "W", 4: (0.0, 6.0, 0.0), 17: float(i)}
        exif.get_ifd(0x8825).update(gps)
        path = root / "folder" / f"walk{i // 20}" / f"{i:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, exif=exif)
        rows.append((f"walk{i // 20}/{i:02d}.jpg", 51 + (i + 0.5) / 60, -0.1, float(i)))
    return root, rows


def as_folder(root, rows, place):
    return f"{root}/folder"


def as_list(root, rows, place):
    lines = [f"{root}/folder/{name},database,{','.join(map(str, known))}" for name, *known in rows]
    place.write_text("\n".join(["image,role,lat,lon,heading", *lines]) + "\n")
    return place.rename(place.with_suffix(".csv"))


def as_manifest(root, rows, place):
    names, latitudes, longitudes, headings = zip(*rows, strict=True)
    digests = [hashlib.sha256((root / "folder" / name).read_bytes()).hexdigest() for name in names]
    table = {"id": names, "uri": [f"{root}/folder/{name}" for name in names], "lat": latitudes, "lon": longitudes}
    table |= {"heading": headings, "sha256": digests}
    pq.write_table(pa.table({key: [*column] for key, column in table.items()}), f"{place}.parquet", row_group_size=13)
    return f"{place}.parquet"


def as_tars(root, rows, place):
    for walk in range(3):
        with tarfile.open(f"{place}{walk}.tar", "w") as tar:
            for name, latitude, longitude, heading in rows[20 * walk : 20 * walk + 20]:
                facts = json.dumps({"latitude": latitude, "longitude": longitude, "heading": heading}).encode()
                for ending, contents in ((".jpg", (root / "folder" / name).read_bytes()), (".json", facts)):
                    member = tarfile.TarInfo(name.removesuffix(".jpg") + ending)
                    member.size = len(contents)
                    tar.addfile(member, io.BytesIO(contents))
    return f"{place}{{0..2}}.tar"


SOURCES = {"folder": as_folder, "list": as_list, "manifest": as_manifest, "tars": as_tars}


def run(model, source, output, **settings):
    known = {"image_size": tuple(map(str, SIZE)), "batch": 4, "shard": 12}
    extract.run(ExtractConfig(model=str(model), photos=str(source), output=str(output), **known | settings))


def rows_of(folder):
    """By the name of the photo without its folders: descriptors and what else is known, float64."""
    rows = tables.open_table(folder).to_arrow().to_pylist()
    assert len({row["name"] for row in rows}) == len(rows)
    known = ("latitude", "longitude", "heading")
    return {
        row["name"].rpartition("/")[2]: np.array([*row["descriptor"], *(row[name] for name in known)]) for row in rows
    }


def check_same(found, expected):
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        np.testing.assert_array_equal(found[name], row)


@pytest.fixture(scope="module")
def whole(model, photos, tmp_path_factory):
    """An extraction that nothing broke off."""
    place = tmp_path_factory.mktemp("whole")
    run(model, as_manifest(*photos, place / "photos"), place / "map")
    return rows_of(place / "map")


@pytest.fixture(scope="module")
def expected(photos, loaded):
    """What the library extracts of all photos, by their names as `rows_of` has them."""
    root, rows = photos
    paths = [root / "folder" / name for name, *_ in rows]
    descriptors = keras_sare.extract(loaded, paths, SIZE, batch_size=4).astype(np.float16)
    return {path.name: descriptor for path, descriptor in zip(paths, descriptors, strict=True)}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_descriptors_that_the_library_extracts(model, photos, expected, tmp_path, source):
    place = tmp_path / "map"
    run(model, SOURCES[source](*photos, tmp_path / "photos"), place)
    found = rows_of(place)
    assert found.keys() == expected.keys()
    for name, *known in photos[1]:
        row = found[name.rpartition("/")[2]]
        np.testing.assert_array_equal(row[:-3], expected[name.rpartition("/")[2]])
        np.testing.assert_allclose(row[-3:], known, atol=1e-6)
    progress = ExtractionRecord.read(place).progress
    assert (progress.shards, progress.photos, progress.left_out) == (4, PHOTOS, 0)


def test_the_index_is_what_the_programs_of_serving_take(model, photos, expected, tmp_path, capsys):
    place = tmp_path / "map"
    run(model, as_folder(*photos, None), place)
    capsys.readouterr()
    serving_index(["info", str(place)])
    assert f"{PHOTOS} photos" in capsys.readouterr().out
    index = PlaceIndex(place)
    index.check_model(models.open_model(str(model), tuple(map(str, SIZE)), None).identity)
    assert index.record.preprocessing["size"] == [*SIZE]
    [found] = index.search(expected["07.jpg"][None], 1).names
    assert [*found] == ["walk0/07.jpg"]


def broken_photos(root, rows, folder):
    """A manifest whose photos 3, 17 and 18 cannot be used, each for a reason of its own."""
    path = as_manifest(root, rows, folder / "photos")
    table = pq.read_table(path).to_pydict()
    (folder / "cut.jpg").write_bytes((root / "folder" / rows[3][0]).read_bytes()[:300])
    table["uri"][3] = str(folder / "cut.jpg")
    table["sha256"][3] = None
    table["uri"][17] = str(folder / "nowhere.jpg")
    table["sha256"][18] = "0" * 64
    table["lat"][40] = None
    pq.write_table(pa.table(table), path)
    return path


def test_photos_that_cannot_be_used_are_named_and_stop_the_run_beyond_a_share(model, photos, whole, tmp_path):
    path = broken_photos(*photos, tmp_path)
    place = tmp_path / "map"
    with pytest.raises(ValueError, match=r"3 of 41 photos cannot be used, at most 0 may be left out"):
        run(model, path, place)
    run(model, path, place, max_corrupt_share=0.1)
    wrong = {f"{number:02d}.jpg" for number in (3, 17, 18)}
    check_same(rows_of(place), {name: row for name, row in whole.items() if name not in wrong})
    header, *lines = csv.reader((place / "left_out.csv").read_text().splitlines())
    assert header == ["shard", "id", "uri", "reason"]
    assert [(shard, name[-6:], reason) for shard, name, _, reason in lines] == [
        ("0", "03.jpg", "truncated or damaged"),
        ("1", "17.jpg", "missing"),
        ("1", "18.jpg", "another file than its sha256 says"),
    ]


def test_a_share_is_exceeded_before_all_photos_are_seen():
    counted = left_out.LeftOut(0, 0, 0.01)
    counted.add([], 5000, 0)
    photo = SourcePhoto("a", "b")
    counted.add([(photo, "missing")] * 50, 50, 1)
    with pytest.raises(ValueError, match="51 of 5051 photos cannot be used, at most 50"):
        counted.add([(photo, "missing")], 1, 1)


def test_the_table_of_photos_that_are_left_out_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(left_out, "MOST_LINES", 5)
    photo = SourcePhoto("a\n" * 600, "b")
    table = left_out.LeftOut(0, 0, 1.0)
    for shard in range(3):
        table.add([(photo, "missing")] * 2, 2, shard)
        table.write(tmp_path, tmp_path, shard)
    lines = (tmp_path / "left_out.csv").read_text().splitlines()
    assert [line[0] for line in lines] == ["s", "0", "0", "1", "1", "2"]
    assert max(map(len, lines)) < 1100
    assert table.count == 6


class Killed(BaseException):
    """Ends a run wherever it is, and nothing expects it."""


EVENTS = {
    "a batch is described": ("keras_sare.extraction.photo_blocks.pixel_model.PixelModel.describe", "before"),
    "a record is to be written": ("trainers.stages.extract.record.ExtractionRecord.write", "before"),
    "a record was written": ("trainers.stages.extract.record.ExtractionRecord.write", "after"),
    "photos are to be added": ("keras_sare.localization.PlaceIndex.extend", "before"),
    "photos were added": ("keras_sare.localization.PlaceIndex.extend", "after"),
    "the index was made": ("keras_sare.localization.PlaceIndex.create", "after"),
    "a table was written": ("trainers.stages.extract.left_out.LeftOut.write", "after"),
}


@pytest.mark.parametrize("event", EVENTS)
def test_an_extraction_that_is_killed_goes_on_and_nothing_comes_twice(
    model, photos, whole, tmp_path, event, monkeypatch
):
    """Killed at the first such event, then at the second of the next start, and so on until it comes to its end."""
    name, moment = EVENTS[event]
    path = as_manifest(*photos, tmp_path / "photos")
    place = tmp_path / "map"
    starts = 0
    for number in count(1):
        with monkeypatch.context() as patch:
            patch.setattr(*_killing(name, moment, number + 2 * ("batch" in event)))
            starts += 1
            try:
                run(model, path, place)
            except (Killed, RuntimeError):
                continue
        break
    assert starts > 1
    check_same(rows_of(place), whole)
    progress = ExtractionRecord.read(place).progress
    assert (progress.shards, progress.photos) == (4, PHOTOS)


def _killing(name, moment, number):
    owner, _, attribute = name.rpartition(".")
    target = pydoc.locate(owner)
    original = getattr(target, attribute)
    calls = count(1)

    def killing(*arguments, **named):
        fatal = next(calls) == number
        if fatal and moment == "before":
            raise Killed
        result = original(*arguments, **named)
        if fatal:
            raise Killed
        return result

    return target, attribute, killing


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch": 5}, "batch=5"),
        ({"shard": 16}, "shard=16"),
        ({"image_size": ("32", "32")}, "preprocessing="),
        ({"max_file_mb": 1}, "max_file_mb=1"),
    ],
)
def test_other_settings_in_the_same_output_are_refused(model, photos, tmp_path, changed, said):
    place = tmp_path / "map"
    run(model, as_folder(*photos, None), place)
    before = rows_of(place)
    with pytest.raises(ValueError, match=f"name another output for another. Received: {said}"):
        run(model, as_folder(*photos, None), place, **changed)
    check_same(rows_of(place), before)


def test_what_can_be_known_is_checked_before_anything_is_described(model, photos, tmp_path, monkeypatch):
    source = as_folder(*photos, None)
    monkeypatch.setattr("trainers.stages.extract.stages.estimate", lambda *_: pytest.fail("too late"))
    (tmp_path / "other").mkdir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError, match="must be new, or the folder of an extraction"):
        run(model, source, tmp_path / "other")
    with pytest.raises(OSError, match="must be a folder that can be made"):
        run(model, source, tmp_path / "file" / "map")
    with pytest.raises(ValueError, match=r"`memory_gb` must be at least 0.00"):
        run(model, source, tmp_path / "map", memory_gb=1e-6)
    with pytest.raises(ValueError, match="must be a .keras file, the folder of a run"):
        run("grpc://localhost:1", source, tmp_path / "map")
    table = pa.table({"id": ["a", "a"], "uri": ["a", "b"], "lat": [1.0, 1.0], "lon": [1.0, 1.0]})
    pq.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="'a' twice"):
        run(model, tmp_path / "twice.parquet", tmp_path / "map")
    assert not (tmp_path / "map").exists()


def test_a_disk_that_is_too_small_is_told_with_what_is_needed(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "free_bytes", lambda _: 1000)
    with pytest.raises(OSError, match="The disk is too small for 41 photos are left"):
        run(model, as_folder(*photos, None), tmp_path / "map")


def test_an_estimate_says_what_is_left_and_writes_nothing(model, photos, tmp_path, capsys):
    place = tmp_path / "map"
    run(model, as_folder(*photos, None), place, estimate=True)
    assert not [*tmp_path.iterdir()]
    line = capsys.readouterr().out
    assert line.startswith("41 photos are left, descriptors of 16 numbers: about ")
    assert "photos a second with 1 worker, measured on " in line


def test_a_finished_extraction_is_left_as_it_is(model, photos, tmp_path, capsys):
    place = tmp_path / "map"
    run(model, as_folder(*photos, None), place)
    version = PlaceIndex(place).version
    capsys.readouterr()
    run(model, as_folder(*photos, None), place)
    assert capsys.readouterr().out == f"{place}: 41 photos in 4 shards\n"
    assert PlaceIndex(place).version == version


def test_photos_without_any_position_are_told_at_the_start(model, tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.new("RGB", (32, 32), (i, 9, 9)).save(tmp_path / "photos" / f"{i}.png")
    with pytest.raises(ValueError, match=r"none of the first 3 has one.*no position"):
        run(model, tmp_path / "photos", tmp_path / "map")
    (tmp_path / "photos").rename(tmp_path / ".hidden")
    with pytest.raises(ValueError, match="must hold photos"):
        run(model, tmp_path, tmp_path / "map")


@pytest.mark.parametrize("name", ["address", "workers", "gpus_per_worker"])
def test_settings_of_ray_are_refused_without_it(name):
    config = ExtractConfig(model="m", photos="p", output="o", **{name: "auto" if name == "address" else 1})
    with pytest.raises(ValueError, match=f"`{name}` must come with --engine=ray"):
        config.check()


def test_ray_that_is_not_installed_is_told_with_the_line_that_installs_it(model, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sare\[ray\]"'):
        run(model, as_folder(*photos, None), tmp_path / "map", engine="ray")
