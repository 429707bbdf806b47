"""The place index against a search that compares everything, and against kills, two writers and damaged files."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from keras_sare.localization import IndexRecord, PlaceIndex, PlaceRows
from keras_sare.retrieval import nearest

pytest.importorskip("lancedb")

DIM = 48
MODEL = "a" * 64
CENTRES = np.random.default_rng(0).normal(size=(30, DIM))


def photos(names: list[str], seed: int = 0) -> PlaceRows:
    """Photos of 30 places, whose descriptors differ less than those of two places."""
    generator = np.random.default_rng(seed)
    descriptors = CENTRES[generator.integers(0, 30, len(names))] + 0.5 * generator.normal(size=(len(names), DIM))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return PlaceRows(
        names,
        descriptors.astype(np.float16),
        generator.random((len(names), 2)) * 1000,
        headings=np.where(generator.random(len(names)) < 0.5, np.nan, 90.0),
        timestamps=[f"2026-11-{1 + i % 28:02d}" for i in range(len(names))],
        thumbnails=[name.encode() for name in names],
    )


def batches(count: int = 6, size: int = 131) -> list[PlaceRows]:
    return [photos([f"walk's {i}/{j}.jpg" for j in range(size)], seed=i) for i in range(count)]


def record(**changes: object) -> IndexRecord:
    return IndexRecord(**{"model": MODEL, "model_name": "tower", "dim": DIM, **changes})


@pytest.fixture
def index(tmp_path: Path) -> PlaceIndex:
    return PlaceIndex.create(tmp_path / "index", record(), batches())


@pytest.mark.parametrize(("exact_rows", "recall"), [(1000, 1.0), (500, 0.99)])
def test_the_nearest_are_those_of_an_exhaustive_search(tmp_path: Path, exact_rows: int, recall: float) -> None:
    """Nearly so where an approximate index proposes them; their scores are those of the stored descriptors."""
    index = PlaceIndex.create(tmp_path / "index", record(exact_rows=exact_rows), batches())
    queries = photos([str(i) for i in range(40)], seed=99).descriptors.astype(np.float32)
    database = np.concatenate([batch.descriptors for batch in batches()]).astype(np.float32)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, database)]
    rows = nearest(*unit, k=5)[1]
    found = index.search(queries, k=5)
    names = [name for batch in batches() for name in batch.names]
    assert np.mean([len({*found.names[i]} & {names[row] for row in rows[i]}) / 5 for i in range(40)]) >= recall
    where = np.array([[names.index(name) for name in ranked] for ranked in found.names])
    np.testing.assert_allclose(found.scores, np.einsum("qd,qkd->qk", unit[0], unit[1][where]), atol=1e-6)
    np.testing.assert_array_equal(found.positions, np.concatenate([batch.positions for batch in batches()])[where])


def test_an_approximate_index_finds_what_was_added_and_not_what_was_removed(tmp_path: Path) -> None:
    """Few new photos are compared one by one, many are indexed anew; old versions of a photo are never found."""
    there = {name: row for batch in batches(3) for name, row in zip(batch.names, batch.descriptors, strict=True)}
    index = PlaceIndex.create(tmp_path / "index", record(exact_rows=100), batches(3))
    for turn, count in enumerate((20, 30, 200)):
        new = photos([f"walk's {turn}/{i}.jpg" for i in range(5)] + [f"{turn} {i}" for i in range(count)], 50 + turn)
        index.append([new], MODEL, replace=True)
        there |= dict(zip(new.names, new.descriptors, strict=True))
        gone = [f"walk's {turn}/{i}.jpg" for i in range(60, 90)]
        assert index.remove(gone) == len(gone)
        there = {name: row for name, row in there.items() if name not in gone}
        rows = np.array(list(there.values()), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found = index.search(rows[::7], k=5)
        assert found.names[:, 0].tolist() == list(there)[::7]
        nearest_five = np.argsort(-rows[::7] @ rows.T, axis=1)[:, :5]
        names = [{list(there)[row] for row in ranked} for ranked in nearest_five]
        assert np.mean([len({*found.names[i]} & names[i]) / 5 for i in range(len(names))]) >= 0.99


def test_a_box_bounds_the_candidates_and_fewer_than_asked_for_are_filled_up(index: PlaceIndex) -> None:
    query = photos(["q"]).descriptors
    box = np.array([[100, 130.5], [0, 400]])
    found = index.search(query, k=20, box=box)
    positions = np.concatenate([batch.positions for batch in batches()])
    inside = ((positions >= box[:, 0]) & (positions <= box[:, 1])).all(axis=1).sum()
    there = np.isfinite(found.scores[0])
    assert 0 < there.sum() == inside < 20
    assert (found.positions[0, there] >= box[:, 0]).all()
    assert (found.positions[0, there] <= box[:, 1]).all()
    assert set(found.names[0, ~there]) == {""}
    nowhere = index.search(query, k=2, box=np.array([[-9, -8], [0, 1]]))
    assert np.isnan(nowhere.scores).all()


def test_photos_come_and_go_by_their_names(index: PlaceIndex) -> None:
    name = "walk's 3/7.jpg"
    new = photos(["new.jpg", name], seed=50)
    assert index.append([new], MODEL, replace=True) == (1, 1)
    assert len(index) == 6 * 131 + 1
    found = index.search(new.descriptors, k=1)
    assert found.names[:, 0].tolist() == ["new.jpg", name]
    np.testing.assert_array_equal(found.positions[:, 0], new.positions)
    assert index.thumbnail(name) == name.encode()
    assert index.remove([name, "' OR name <> '"]) == 1
    assert index.remove([]) == 0
    assert len(PlaceIndex(index.folder)) == 6 * 131
    with pytest.raises(KeyError):
        index.thumbnail(name)


def test_what_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path, index: PlaceIndex) -> None:
    version = index.version
    with pytest.raises(ValueError, match="`model` must be the one that the index was built with"):
        index.append([photos(["a"])], "b" * 64)
    twice = [photos(["a", "b"]), photos(["c", "a"])]
    with pytest.raises(ValueError, match=r"`names` must differ: .* 'a' twice"):
        index.append(twice, MODEL)
    with pytest.raises(ValueError, match="`names` must differ"):
        PlaceIndex.create(tmp_path / "other", record(), twice)
    with pytest.raises(ValueError, match=r"`descriptors` must be \[n, 9\]"):
        PlaceIndex.create(tmp_path / "other", record(dim=9), batches(1))
    with pytest.raises(ValueError, match="one photo at least"):
        PlaceIndex.create(tmp_path / "other", record(), [])
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    with pytest.raises(FileExistsError, match="`folder` must be new"):
        PlaceIndex.create(index.folder, record(), batches(1))
    with pytest.raises(ValueError, match=r"`descriptors` must be \[Q, 48\] finite"):
        index.search(np.full((1, DIM), np.nan))
    with pytest.raises(ValueError, match="`k` must be positive"):
        index.search(np.ones((1, DIM)), k=0)
    assert PlaceIndex(index.folder).version == version


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ["a", "a"]}, "must differ"),
        ({"names": ["a", ""]}, "not be empty"),
        ({"names": ["a"]}, "one entry for each of the 1"),
        ({"descriptors": np.ones((2, DIM))}, "2 are not. Received: norm 6.928 of 'a'"),
        ({"descriptors": np.full((2, DIM), np.nan)}, "rows of norm 1; 2 are not"),
        ({"positions": np.array([[0, np.inf], [0, 0]])}, "finite numbers"),
    ],
)
def test_photos_that_an_index_cannot_hold_are_refused(changes: dict[str, object], message: str) -> None:
    good = photos(["a", "b"])
    with pytest.raises(ValueError, match=message):
        PlaceRows(**{**vars(good), **changes})


def test_damaged_folders_are_refused(index: PlaceIndex, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must be the folder of a place index"):
        PlaceIndex(tmp_path)
    path = index.folder / "index.json"
    text = path.read_text()
    changed = [text.replace('"format": 1', '"format": 2'), text.replace(f'"dim": {DIM}', '"dim": 1e999')]
    for damaged in ("", "[]", "[" * 100_000, text[:-20], *changed, " " * (2 << 20)):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="is damaged: .* Build the index anew"):
            PlaceIndex(index.folder)
    path.write_text(text)
    for file in (index.folder / "photos.lance" / "_versions").iterdir():
        file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ValueError, match="is damaged"):
        PlaceIndex(index.folder)


def test_damage_that_is_met_during_a_search_is_told_in_one_line(tmp_path: Path) -> None:
    """Of the descriptors, of the photos, and of the approximate index."""
    whole = PlaceIndex.create(tmp_path / "whole", record(exact_rows=500), batches()).folder
    files = [file for file in whole.rglob("*") if file.suffix in (".lance", ".idx") and file.is_file()]
    assert {file.suffix for file in files} == {".lance", ".idx"}
    for number, file in enumerate(files):
        damaged = Path(shutil.copytree(whole, tmp_path / str(number)))
        (damaged / file.relative_to(whole)).write_bytes(file.read_bytes()[:30])
        index = PlaceIndex(damaged)
        with pytest.raises(ValueError, match=r"is damaged: .* Build the index anew$") as told:
            index.search(photos(["q"]).descriptors)
        assert "\n" not in str(told.value)


WRITER = """
import sys
from keras_sare.localization import PlaceIndex
from tests.localization.test_place_index import MODEL, photos
index = PlaceIndex(sys.argv[1])
for turn in range(10_000):
    index.append([photos([f"{turn} {part} {i}" for i in range(50)], part) for part in range(4)], MODEL)
    print(turn, flush=True)
"""


@pytest.fixture
def writing(index: PlaceIndex) -> Iterator[subprocess.Popen[str]]:
    """A process that appends 200 photos again and again, and says so each time."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, "-c", WRITER, str(index.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


def test_a_killed_writer_leaves_all_of_an_append_or_nothing(index: PlaceIndex, writing: subprocess.Popen[str]) -> None:
    assert writing.stdout is not None
    for _ in range(3):
        writing.stdout.readline()
    with pytest.raises(RuntimeError, match="Another process runs in"):
        index.append([photos(["mine"])], MODEL)
    writing.send_signal(signal.SIGKILL)
    done = 3 + len(writing.stdout.read().splitlines())
    writing.wait()
    found = PlaceIndex(index.folder)
    new = len(found) - 6 * 131
    assert new in (200 * done, 200 * (done + 1))
    assert index.append([photos(["mine"])], MODEL) == (1, 0)
    assert len(index) == len(found) + 1


def test_an_index_that_grows_part_by_part_is_that_of_all_photos_at_once(tmp_path: Path) -> None:
    """Without looking for names that are there; the index of descriptors is made once, at the end."""
    first, *others = batches(5)
    whole = PlaceIndex.create(tmp_path / "whole", record(exact_rows=200), batches(5))
    grown = PlaceIndex.create(
        tmp_path / "grown", record(exact_rows=200), [first], lambda folder: (folder / "beside.txt").touch()
    )
    assert (tmp_path / "grown" / "beside.txt").exists()
    for batch in others:
        grown.extend([batch], MODEL)
    assert len(grown) == len(whole) == 5 * 131
    assert grown.version == 5
    grown.index()
    assert grown.version > 5
    queries = photos([str(i) for i in range(5)], seed=99).descriptors
    np.testing.assert_array_equal(grown.search(queries, 1).names, whole.search(queries, 1).names)
    assert grown.holds("walk's 4/7.jpg")
    assert not grown.holds("walk's 5/7.jpg")
    with pytest.raises(ValueError, match="descriptors of two models cannot be compared"):
        grown.extend([first], "b" * 64)


def test_a_part_that_is_broken_off_leaves_the_index_as_it_was(index: PlaceIndex) -> None:
    def broken() -> Iterator[PlaceRows]:
        yield photos(["new"])
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        index.extend(broken(), MODEL)
    with pytest.raises(ValueError, match="'new' twice"):
        index.extend([photos(["new"]), photos(["new"])], MODEL)
    assert (len(index), index.holds("new"), index.version) == (6 * 131, False, 1)
