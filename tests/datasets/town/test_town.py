"""The rendered town: its files, its positions, its splits, and what it refuses."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.town import town as town_module
from keras_sare.datasets.town.town import COLUMNS, Town, render_town

SIZE = (24, 32)
PLACES = {"train_places": 5, "val_places": 2, "test_places": 3}
FOLDERS = {"database": "images", "query": "queries"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_town(tmp_path_factory.mktemp("towns") / "town", seed=3, image_size=SIZE, **PLACES)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "places.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def positions(rows: list[dict[str, str]]) -> np.ndarray:
    return np.array([(float(row["easting"]), float(row["northing"])) for row in rows])


def select(rows: list[dict[str, str]], **wanted: str) -> list[dict[str, str]]:
    return [row for row in rows if all(row[column] == value for column, value in wanted.items())]


def distances(first: list[dict[str, str]], second: list[dict[str, str]]) -> np.ndarray:
    return np.linalg.norm(positions(first)[:, None] - positions(second), axis=-1)


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_csv_lists_two_database_photos_and_three_queries_for_each_place(rows: list[dict[str, str]]) -> None:
    assert tuple(rows[0]) == COLUMNS
    for split, places in (("train", 5), ("val", 2), ("test", 3)):
        assert len(select(rows, split=split, role="database")) == 2 * places
        assert len(select(rows, split=split, role="query")) == 3 * places
        assert len({row["place"] for row in select(rows, split=split)}) == places


def test_the_csv_lists_every_file_once_and_no_other(folder: Path, rows: list[dict[str, str]]) -> None:
    listed = [f"{FOLDERS[row['role']]}/{row['image']}" for row in rows]
    assert sorted([*listed, "places.csv"]) == list(files_of(folder))


def test_the_default_town_has_900_photos() -> None:
    places = {"train": 96, "val": 24, "test": 60}
    assert len(Town(0, SIZE, places).shots) == 900


def test_every_photo_has_the_size_asked_for(folder: Path) -> None:
    for path in folder.rglob("*.jpg"):
        with Image.open(path) as photo:
            assert photo.size == (32, 24)
            assert photo.mode == "RGB"


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = render_town(tmp_path / "again", seed=3, image_size=SIZE, **PLACES)
    assert files_of(again) == files_of(folder)


def test_another_seed_gives_another_town(folder: Path, tmp_path: Path) -> None:
    other = files_of(render_town(tmp_path / "other", seed=4, image_size=SIZE, **PLACES))
    same = [name for name, content in files_of(folder).items() if other.get(name) == content]
    assert same == []


def test_positions_are_those_of_the_cameras_to_the_millimetre(rows: list[dict[str, str]]) -> None:
    town = Town(3, SIZE, {"train": 5, "val": 2, "test": 3})
    for row, position in zip(rows, positions(rows), strict=True):
        shot = next(shot for shot in town.shots if (shot.image, shot.role) == (row["image"], row["role"]))
        np.testing.assert_allclose(position, town.position(shot), atol=6e-4)


def test_positions_keep_the_distances_along_and_across_the_street() -> None:
    town = Town(3, SIZE, {"train": 5, "val": 2, "test": 3})
    in_street = [shot for shot in town.shots if shot.street == 0]
    world = np.array([town.position(shot) for shot in in_street])
    local = np.array([(shot.camera.along, shot.camera.across) for shot in in_street])
    for points in (world, local):
        points -= points[0]
    np.testing.assert_allclose(np.linalg.norm(world, axis=1), np.linalg.norm(local, axis=1), atol=1e-9)


def test_every_query_has_a_positive_of_its_side_beyond_1_m_and_within_10_m(rows: list[dict[str, str]]) -> None:
    for query in select(rows, role="query"):
        side = query["image"].split("_")[1]
        database = [row for row in select(rows, role="database", split=query["split"]) if f"_{side}_" in row["image"]]
        near = distances([query], database)[0]
        assert ((near > 1) & (near <= 10)).any()
        assert near.min() > 1


def test_every_query_has_definite_negatives_in_its_split(rows: list[dict[str, str]]) -> None:
    for split in ("train", "val", "test"):
        far = distances(select(rows, split=split, role="query"), select(rows, split=split, role="database")) > 25
        assert far.any(1).all()


@pytest.mark.parametrize(("first", "second"), [("train", "val"), ("train", "test"), ("val", "test")])
def test_splits_lie_more_than_100_m_apart(rows: list[dict[str, str]], first: str, second: str) -> None:
    assert distances(select(rows, split=first), select(rows, split=second)).min() > 100


def test_splits_of_the_default_town_lie_more_than_100_m_apart() -> None:
    town = Town(0, SIZE, {"train": 96, "val": 24, "test": 60})
    points = np.array([town.position(shot) for shot in town.shots])
    split = np.array([shot.split for shot in town.shots])
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    assert apart[split[:, None] != split].min() > 100


def test_night_is_dark_and_evening_is_redder_than_day(folder: Path, rows: list[dict[str, str]]) -> None:
    colours = {}
    for condition in ("day", "evening", "night"):
        queries = select(rows, role="query", **{"pass": condition})
        photos = [np.asarray(Image.open(folder / "queries" / row["image"])) for row in queries]
        colours[condition] = np.mean(photos, axis=(0, 1, 2))
    assert colours["night"].mean() < min(colours["day"].mean(), colours["evening"].mean()) - 40
    redness = {condition: red / blue for condition, (red, _, blue) in colours.items()}
    assert redness["evening"] > redness["day"] + 0.2


def test_the_database_is_taken_by_day_in_a_traversal_of_its_own(rows: list[dict[str, str]]) -> None:
    assert {row["pass"] for row in select(rows, role="database")} == {"survey"}
    assert {row["pass"] for row in select(rows, role="query")} == {"day", "evening", "night"}


def test_nothing_is_left_behind_when_rendering_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = Town.photo

    def fail_at_the_tenth(self: Town, number: int) -> np.ndarray:
        if number == 9:
            raise RuntimeError("out of paint")
        return photo(self, number)

    monkeypatch.setattr(town_module.Town, "photo", fail_at_the_tenth)
    with pytest.raises(RuntimeError, match="out of paint"):
        render_town(tmp_path / "town", image_size=SIZE, **PLACES)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "town").mkdir()
    assert (render_town(tmp_path / "town", image_size=SIZE, **PLACES) / "places.csv").is_file()


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="`folder` must be new or empty.*Received: folder="):
        render_town(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"`seed` must be 0 or more\. Received: seed=-1"),
        ({"image_size": (8, 160)}, r"`image_size` must be .* 16 pixels.*Received: image_size=\(8, 160\)"),
        ({"image_size": (120, 160, 3)}, r"`image_size` must be a height and a width.*Received"),
        ({"train_places": 1}, r"`train_places` must be 2 or more.*Received: train_places=1"),
        ({"val_places": 0}, r"`val_places` must be 2 or more.*Received: val_places=0"),
        ({"test_places": -5}, r"`test_places` must be 2 or more.*Received: test_places=-5"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_town(tmp_path / "town", **arguments)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
