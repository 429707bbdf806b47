"""Photos in, answers out: on one map and several, with photos that cannot be read among them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import keras_sare
from keras_sare.layers import MAC
from keras_sare.localization import (
    Calibration,
    DescriptorLocalizer,
    IndexRecord,
    Motion,
    PlaceIndex,
    PlaceRows,
    Prior,
    photo_answers,
    photo_localizer,
)
from keras_sare.localization.photo_models import open_photo_model
from keras_sare.models.model_file import identity_of

pytest.importorskip("lancedb")

DIM = 32
PLACES = 12
LOOKS = np.random.default_rng(0).normal(size=(PLACES, DIM))
LOOKS /= np.linalg.norm(LOOKS, axis=1, keepdims=True)


class Numbered:
    """A model of which a file holds the number of a place."""

    identity = "numbers"

    def extract(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
        errors = ["" if file.isdigit() else "no number" for file in files]
        numbers = [int(file) if not error else 0 for file, error in zip(files, errors, strict=True)]
        return LOOKS[numbers].astype(np.float32), errors


def build(folder: Path, places: Sequence[int], kind: str) -> PlaceIndex:
    """An index of some of the places, 100 m apart."""
    steps = np.array([[100.0, 0.0]]) if kind == "metres" else np.array([[0.001, 0.0]])
    rows = PlaceRows(
        names=[f"{folder.name}/{place}.jpg" for place in places],
        descriptors=LOOKS[[*places]],
        positions=np.array(places)[:, None] * steps,
        headings=np.where(np.array(places) % 2, 90.0, np.nan),
        timestamps=[f"2020-01-{place + 1:02}" for place in places],
    )
    return PlaceIndex.create(folder, IndexRecord("numbers", "numbers", DIM, kind), [rows])


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("maps")
    build(folder / "west", range(6), "metres")
    build(folder / "east", range(4, 10), "metres")
    build(folder / "earth", range(9, 12), "degrees")
    return {name: folder / name for name in ("west", "east", "earth")}


def test_a_file_of_any_size_is_read_no_further_than_a_photo_may_be_long(
    maps: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_localizer, "MOST_BYTES", 3)
    (tmp_path / "long.txt").write_bytes(b"0002")
    (tmp_path / "short.txt").write_bytes(b"002")
    answers = keras_sare.Localizer(maps["west"], Numbered()).locate([tmp_path / "long.txt", tmp_path / "short.txt"])
    assert [answer.error for answer in answers] == ["more than 3 bytes", None]


def test_answers_are_those_of_the_descriptors(maps: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "3.txt").write_bytes(b"3")
    photos = [b"2", tmp_path / "3.txt", b"broken", str(tmp_path / "nowhere"), "zero\0"]
    answers = keras_sare.Localizer(maps["west"], Numbered(), k=4).locate(photos, batch=2)
    expected = DescriptorLocalizer(PlaceIndex(maps["west"]), k=4).locate(LOOKS[[2, 3]])
    assert [answer.error for answer in answers] == [None, None, "no number", "missing", "embedded null byte"]
    for row, answer in enumerate(answers[:2]):
        found = expected.candidates
        assert answer.known
        assert answer.map == "west"
        assert answer.position == dict(zip(("easting", "northing"), expected.positions[row], strict=True))
        assert [one.name for one in answer.candidates] == found.names[row].tolist()
        assert [one.score for one in answer.candidates] == found.scores[row].tolist()
        assert [one.row for one in answer.candidates] == [0, 1, 2, 3]
        apart = np.linalg.norm(found.positions[row] - expected.positions[row], axis=1)
        np.testing.assert_allclose([one.distance for one in answer.candidates], apart)
        assert {one.heading for one in answer.candidates} == {None, 90.0}
        assert answer.probability is answer.uncertainty is None
    assert answers[2].to_json() == {"error": "no number"}
    assert json.loads(json.dumps(answers[0].to_json(), allow_nan=False))["candidates"][0]["timestamp"] == "2020-01-03"


def test_of_several_maps_the_most_similar_answers_and_all_give_candidates(maps: dict[str, Path]) -> None:
    localizer = keras_sare.Localizer(maps, Numbered(), k=8)
    west, east, earth = localizer.locate([b"1", b"8", b"11"])
    assert [one.map for one in (west, east, earth)] == ["west", "east", "earth"]
    assert list(earth.position or {}) == ["latitude", "longitude"]
    for answer in (west, east, earth):
        scores = [one.score for one in answer.candidates]
        assert len(scores) == 8
        assert scores == sorted(scores, reverse=True)
        assert len({one.map for one in answer.candidates}) > 1
        # Metres between two maps are only known where their positions are of one kind.
        ours = {"west", "east"} if answer.map != "earth" else {"earth"}
        assert all((one.distance is not None) == (one.map in ours) for one in answer.candidates)
    assert keras_sare.Localizer(maps["west"], Numbered()).locate([b"1"], Prior(near=np.array([9000, 0])))[
        0
    ].to_json() == {
        "known": False,
        "position": None,
        "uncertainty": None,
        "probability": None,
        "map": None,
        "candidates": (),
        "error": None,
        "surest": None,
    }
    assert localizer.locate([]) == []


SURE_ABOVE_0_6 = Calibration(
    radius=25.0,
    mean=(0.6, 0.0, 0.0),
    scale=(0.1, 1.0, 1.0),
    weights=(2.0, 0.0, 0.0),
    bias=0.0,
    probabilities=(0.1, 0.9),
    radii=(300.0, 10.0),
    thresholds=(0.5,),
    precisions=(1.0,),
    photos=100,
)


@pytest.mark.parametrize(
    ("calibrated", "plain", "expected"),
    [(0.65, 0.7, ("calibrated", True)), (0.5, 0.3, ("calibrated", False)), (0.5, 0.7, ("plain", True))],
)
def test_a_calibrated_map_that_is_sure_comes_first_and_no_map_for_want_of_a_calibration(
    calibrated: float, plain: float, expected: tuple[str, bool], tmp_path: Path
) -> None:
    looks = np.eye(3)
    maps = {}
    for row, (name, calibration) in enumerate({"calibrated": SURE_ABOVE_0_6, "plain": None}.items()):
        record = IndexRecord("numbers", "numbers", 3, calibration=calibration)
        photo = PlaceRows([name], looks[[row]], np.zeros((1, 2)))
        maps[name] = DescriptorLocalizer(PlaceIndex.create(tmp_path / name, record, [photo]))
    photo = np.array([[calibrated, plain, np.sqrt(1 - calibrated**2 - plain**2)]])
    (answer,) = photo_answers(maps, photo, [""])
    assert (answer.map, answer.known) == expected


def test_a_walk_is_answered_from_one_map_and_maps_may_be_chosen(maps: dict[str, Path]) -> None:
    """Places 4 and 5 are in two maps; photos that cannot be read, and rough positions of each, keep their places."""
    localizer = keras_sare.Localizer(maps, Numbered(), k=8)
    walk = [b"4", b"broken", b"5", b"6", b"7"]
    answers = localizer.locate(walk, walk=Motion(speed=150.0), batch=2)
    assert [answer.error for answer in answers] == [None, "no number", None, None, None]
    assert [answer.map for answer in answers] == ["east", None, "east", "east", "east"]
    assert [(answer.position or {}).get("easting") for answer in answers] == [400.0, None, 500.0, 600.0, 700.0]
    assert {one.map for one in answers[0].candidates} > {"east", "west"}
    assert [answer.surest for answer in answers].count(True) == 1
    assert [answer.surest is None for answer in answers] == [False, True, False, False, False]
    assert {answer.surest for answer in localizer.locate([b"4"])} == {None}
    (chosen,) = localizer.locate([b"5"], maps=["west"])
    assert {chosen.map, *(one.map for one in chosen.candidates)} == {"west"}
    near = np.array([[np.nan, np.nan], [0.0, 0.0], [900.0, 0.0]])
    rough = localizer.locate([b"5", b"none", b"5"], Prior(near=near, within=50.0), maps=["west", "east"], batch=2)
    assert [(answer.position or {}).get("easting") for answer in rough] == [500.0, None, 900.0]
    assert localizer.locate([], walk=Motion()) == []
    with pytest.raises(ValueError, match="`maps` must be one of west, east, earth. Received: maps='north'"):
        localizer.locate([b"5"], maps=["north"])
    with pytest.raises(ValueError, match=r"\[Q, 2\] for 2 photos"):
        localizer.locate([b"5", b"5"], Prior(near=near))
    with pytest.raises(ValueError, match="`near` must be given with `maps` of one kind of positions"):
        localizer.locate([b"5"], Prior(near=near[2]))
    with pytest.raises(ValueError, match="`latitude` must be degrees"):
        localizer.locate([b"5"], Prior(near=near[2]), maps=["earth"])


def test_what_does_not_belong_together_is_refused(maps: dict[str, Path], tmp_path: Path) -> None:
    class Other(Numbered):
        identity = "other"

    with pytest.raises(ValueError, match="`model` must be the one that the index was built with"):
        keras_sare.Localizer(maps, Other())
    with pytest.raises(ValueError, match="`index` must name one index at least"):
        keras_sare.Localizer({}, Numbered())
    with pytest.raises(FileNotFoundError, match="`model` must be an exported SavedModel"):
        keras_sare.Localizer(maps["west"], tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"none")
    with pytest.raises(ValueError, match="`model` must be a SavedModel with the signature 'tolerant'"):
        keras_sare.Localizer(maps["west"], tmp_path)
    with pytest.raises(ValueError, match="`photos` must be a list"):
        keras_sare.Localizer(maps["west"], Numbered()).locate("photo.jpg")
    with pytest.raises(ValueError, match="`batch` must be positive"):
        keras_sare.Localizer(maps["west"], Numbered()).locate([b"1"], batch=0)


def test_an_index_knows_where_its_photos_are_and_what_others_wrote(tmp_path: Path) -> None:
    index = build(tmp_path / "grown", range(5), "metres")
    other = PlaceIndex(tmp_path / "grown")
    assert [len(part) for part in other.positions(2)] == [2, 2, 1]
    assert sorted(np.concatenate([*other.positions(2)])[:, 0]) == [0, 100, 200, 300, 400]
    index.remove(["grown/0.jpg"])
    (tmp_path / "grown" / "index.json").write_text(
        (tmp_path / "grown" / "index.json").read_text().replace('"model_name": "numbers"', '"model_name": "renamed"')
    )
    other.refresh()
    assert (len(other), other.record.model_name) == (4, "renamed")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(8, 8, strides=8, activation="relu")(keras.layers.Rescaling(1 / 64, -2)(images))
    return keras.Model(images, MAC()(features))


@pytest.mark.parametrize("size", [[24, 32], [40]])
def test_a_keras_file_reads_photos_as_the_index_says(model: keras.Model, size: list[int], tmp_path: Path) -> None:
    model.save(tmp_path / "small.keras")
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((64, 48), 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "upright.png")
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    picture.resize((6, 6)).save(file := io.BytesIO(), "PNG")
    preprocessing = {"size": size, "shorter": False, "orientation": "upright", "antialias": True}
    opened = open_photo_model(tmp_path / "small.keras", preprocessing)
    paths = [tmp_path / "upright.png", tmp_path / "turned.png"]
    descriptors, errors = opened.extract([*(path.read_bytes() for path in paths), b"", b"no photo", file.getvalue()])
    whole = keras_sare.extract(model, [str(path) for path in paths], size=size[0] if len(size) == 1 else tuple(size))
    np.testing.assert_allclose(descriptors[:2], whole, atol=1e-6)
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-5)
    assert errors[:4] == ["", "", "empty", "not a JPEG, PNG, GIF or WebP image"]
    # What is enlarged to a size of its own is large enough.
    assert ("pixels on each side" in errors[4]) == (len(size) == 1)
    assert opened.identity == identity_of(keras.saving.load_model(tmp_path / "small.keras"))
    with pytest.raises(ValueError, match="`index` must say how photos are read for a .keras file"):
        open_photo_model(tmp_path / "small.keras")
