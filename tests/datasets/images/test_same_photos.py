import logging
import os
import shutil

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.datasets.images.same_photos import photo_numbers


def numbers(*paths):
    return photo_numbers(np.array([str(path) for path in paths], np.dtypes.StringDType())).tolist()


@pytest.fixture
def write(tmp_path):
    def write(name, contents):
        (tmp_path / name).write_bytes(contents)
        return tmp_path / name

    return write


def test_same_path_copy_and_links_are_the_same_photo(write, tmp_path):
    a = write("a.jpg", b"photo a" * 2000)
    b = write("b.jpg", b"photo b" * 2000)
    copy = shutil.copy(a, tmp_path / "copy.jpg")
    os.link(a, hard := tmp_path / "hard.jpg")
    (soft := tmp_path / "soft.jpg").symlink_to(b)
    assert numbers(a, b, a, copy, hard, soft) == [0, 1, 0, 0, 0, 1]


def test_files_of_one_size_and_one_end_may_still_differ(write):
    assert numbers(write("a", b"a" + bytes(9000)), write("b", b"b" + bytes(9000)), write("c", bytes(9001))) == [0, 1, 2]


def test_files_of_the_same_end_and_other_sizes_differ(write):
    assert numbers(write("a", bytes(8000)), write("b", bytes(8001)), write("c", bytes(8000))) == [0, 1, 0]


def test_missing_files_are_told_apart_by_their_names(write, tmp_path):
    here = write("here", b"x")
    assert numbers(tmp_path / "gone", here, tmp_path / "lost", tmp_path / "gone", tmp_path) == [0, 1, 2, 0, 4]


def test_no_paths_give_no_numbers():
    assert numbers() == []


def test_files_without_contents_are_no_copies_of_each_other(write):
    assert numbers(write("a", b""), write("b", b"")) == [0, 1]


def test_only_files_of_one_size_are_opened(write, monkeypatch):
    paths = [write(str(size), bytes(size)) for size in (10, 20, 30)] + [write("b", b"b" * 20)]
    opened = []
    open_file = os.open
    monkeypatch.setattr(os, "open", lambda name, how: opened.append(os.path.basename(name)) or open_file(name, how))
    assert numbers(*paths) == [0, 1, 2, 3]
    assert sorted(opened) == ["20", "b"]


def test_queries_in_the_database_and_rows_listed_twice_are_named_with_their_originals(write, caplog):
    photos = [str(write(f"{i}.jpg", bytes([i]) * 100)) for i in range(8)]
    copy = shutil.copy(photos[6], photos[6] + ".copy")
    database = [*photos[:7], photos[1]]
    queries = [*photos[:3], copy, photos[7]]
    sides = [ImageSet(paths, np.zeros((len(paths), 2))) for paths in (database, queries)]
    data = PlaceDataset("town", *sides)
    with caplog.at_level(logging.WARNING):
        data.warn_of_same_photos()
    repeated, shared = (record.getMessage() for record in caplog.records)
    assert repeated.startswith("town, database: 1 of 8 images repeat one that is listed before, the same file or ")
    assert f" bytes ({photos[1]}). " in repeated
    assert shared.startswith("town: 4 of 5 queries are in the database too, the same file or ")
    assert f"finds them ({', '.join(photos[:3])}, ...). " in shared
    assert [row.tolist() for row in data.own_photos()] == [[0], [1, 7], [2], [6], []]
    swapped = PlaceDataset("town", sides[1], sides[0].subset([6]))
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        swapped.warn_of_same_photos()
    assert f"({photos[6]} is {copy}). " in caplog.text
