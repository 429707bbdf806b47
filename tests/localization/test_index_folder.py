"""What becomes of the folder of a place index: indexes of names, old versions, and files that cannot be read."""

import datetime as dt
import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from keras_sare.localization import DamagedIndexError, IndexRecord, PlaceIndex, PlaceRows
from keras_sare.localization.storage.tables import open_table
from keras_sare.localization.storage.upkeep import GRACE, NAMED_ROWS, forget_versions

pytest.importorskip("lancedb")

DIM = 8


def record(exact_rows: int = 1_000_000) -> IndexRecord:
    return IndexRecord("m" * 64, "tower", DIM, exact_rows=exact_rows)


def rows(names: list[str], seed: int = 0) -> PlaceRows:
    """Photos whose thumbnails tell their names and the seed."""
    descriptors = np.random.default_rng(seed).normal(size=(len(names), DIM))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    positions = np.full((len(names), 2), float(seed))
    return PlaceRows(names, descriptors, positions, thumbnails=[f"{seed} {name}".encode() for name in names])


def names(start: int, stop: int) -> list[str]:
    return [f"walk's {number % 7}/{number}.jpg" for number in range(start, stop)]


@pytest.fixture
def index(tmp_path: Path) -> PlaceIndex:
    return PlaceIndex.create(tmp_path / "index", record(), [rows(names(0, 40))])


def indexed(index: PlaceIndex) -> dict[str, int]:
    """Columns that have an index of Lance's, and how many photos are in it."""
    return {one.columns[0]: one.num_indexed_rows for one in open_table(index.folder).list_indices()}


def test_the_thumbnails_of_a_large_map_are_found_by_an_index_of_names(tmp_path: Path) -> None:
    """Also of photos that came, were replaced or went since it was made."""
    count = NAMED_ROWS + 500
    index = PlaceIndex.create(tmp_path / "index", record(), [rows(names(0, count))])
    assert indexed(index) == {"name": count}
    index.append([rows(names(count, count + 300), 1)], index.record.model)
    assert indexed(index) == {"name": count}
    index.append([rows(names(100, 200), 2)], index.record.model, replace=True)
    assert index.remove(names(200, 250)) == 50
    seeds = {0: 0, 99: 0, 100: 2, 199: 2, 250: 0, count - 1: 0, count: 1, count + 299: 1}
    for number, seed in seeds.items():
        (name,) = names(number, number + 1)
        assert index.thumbnail(name) == f"{seed} {name}".encode()
    for number in (200, 249, count + 300):
        with pytest.raises(KeyError):
            index.thumbnail(names(number, number + 1)[0])
    index.append([rows(names(count + 300, 2 * count), 3)], index.record.model)
    assert indexed(index) == {"name": len(index)}
    assert index.thumbnail(names(150, 151)[0]) == f"2 {names(150, 151)[0]}".encode()


def test_photos_of_the_same_names_are_replaced_only_where_that_is_asked_for(index: PlaceIndex) -> None:
    """As those of another folder, that has the same folders below it."""
    version = index.version
    more = [rows(names(40, 60), 1), rows(names(38, 40) + ["new.jpg"], 2)]
    with pytest.raises(ValueError, match=r"^`names` must be new to the index: .* such as .*38.jpg\"$"):
        index.append(more, index.record.model)
    with pytest.raises(ValueError, match=r"--replace.*--name_prefix=NAME/.*: 3 names, of which 2 are there"):
        index.check_new(more[1].names)
    assert PlaceIndex(index.folder).version == version
    index.check_new(more[0].names)
    assert index.append(more[:1], index.record.model) == (20, 0)
    assert index.append(more[1:], index.record.model, replace=True) == (1, 2)


@pytest.mark.parametrize("exact_rows", [1_000_000, 30])
def test_old_versions_go_once_they_have_not_been_the_newest_for_a_while(tmp_path: Path, exact_rows: int) -> None:
    """Who reads one of them reads on, whether it is still there or not."""
    index = PlaceIndex.create(tmp_path / "index", record(exact_rows), [rows(names(0, 40))])
    readers = change(index, range(1, 8))
    table = open_table(index.folder)
    versions = table.list_versions()
    forget_versions(table, record(exact_rows))
    forget_versions(table, record(exact_rows), versions[3]["timestamp"] + GRACE)
    assert len(table.list_versions()) == len(versions)
    files = data_files(index)

    forget_versions(table, record(exact_rows), versions[-2]["timestamp"] + GRACE, dt.timedelta(0))
    left = {version["version"] for version in table.list_versions()}
    assert not left & {version["version"] for version in versions[:-4]}
    readers |= change(index, range(8, 14))
    table = open_table(index.folder)
    versions = table.list_versions()
    forget_versions(table, record(exact_rows), versions[-2]["timestamp"] + GRACE, dt.timedelta(0))
    assert len(table.list_versions()) < 8
    assert not data_files(index) & files

    query = rows(["q"]).descriptors
    for newest in (PlaceIndex(index.folder), index):
        found = newest.search(query, k=600)
        assert len({*found.names[0]} - {""}) == 39 + 13 * 40 == len(newest)
    for turn, reader in readers.items():
        found = reader.search(query, k=600)
        assert len({*found.names[0]} - {""}) == len(reader) in (39 + 40 * (turn - 1), len(index))
        seed, name = (reader.thumbnail(names(5, 6)[0]) or b"").decode().split(" ", 1)
        assert name == names(5, 6)[0]
        assert int(seed) in (turn - 1, 13)


def change(index: PlaceIndex, turns: range) -> dict[int, PlaceIndex]:
    """Replaces some photos, adds others and removes one, again and again; readers that had the index open before."""
    readers = {}
    for turn in turns:
        readers[turn] = PlaceIndex(index.folder)
        photos = rows(names(0, 20) + names(40 * turn, 40 * turn + 40), turn)
        index.append([photos], index.record.model, replace=True)
        index.remove(names(30, 31))
    return readers


def data_files(index: PlaceIndex) -> set[str]:
    return {file.name for file in (index.folder / "photos.lance" / "data").iterdir()}


@pytest.fixture
def data(index: PlaceIndex) -> Path:
    """The one file of the photos."""
    (file,) = (index.folder / "photos.lance" / "data").iterdir()
    return file


def test_only_files_that_are_missing_or_not_what_was_written_are_damage(index: PlaceIndex, data: Path) -> None:
    query = rows(["q"]).descriptors
    whole = data.read_bytes()
    data.unlink()
    data.symlink_to(data)
    for read in (lambda one: one.search(query), lambda one: one.thumbnail("a"), lambda one: one.names(3), list_of):
        with pytest.raises(OSError, match=r"index' cannot be read: Too many levels of symbolic links$") as told:
            read(PlaceIndex(index.folder))
        assert told.value.errno == errno.ELOOP
    data.unlink()
    for contents in (None, whole[:30], whole[:-300] + bytes(300)):
        if contents is not None:
            data.write_bytes(contents)
        with pytest.raises(DamagedIndexError, match=r"is damaged: .* Build the index anew$"):
            PlaceIndex(index.folder).search(query)
    data.write_bytes(whole)
    assert PlaceIndex(index.folder).search(query).names[0, 0]


def list_of(index: PlaceIndex) -> list[np.ndarray]:
    return [*index.positions()]


def test_a_folder_that_has_gone_is_told(index: PlaceIndex) -> None:
    shutil.rmtree(index.folder)
    for read in (lambda: index.search(rows(["q"]).descriptors), lambda: index.thumbnail("a"), lambda: list_of(index)):
        with pytest.raises(FileNotFoundError, match="is no place index any more: its index.json has gone"):
            read()
