import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from keras_sare.datasets import read_dbstruct

WRITERS = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[3] / "data" / "matlab_writers.py")))


def cells(*texts):
    array = np.empty((len(texts), 1), object)
    array[:, 0] = texts
    return array


def fields(**changes):
    return {
        "qImageFns": cells("000/q0.jpg"),
        "utmQ": np.array([[3.0], [4.0]]),
        "numQueries": 1,
        "whichSet": "test",
        "dbImageFns": cells("./000/a.jpg", "001/b.jpg"),
        "utmDb": np.array([[0.0, 100.0], [0.0, 200.0]]),
        "numImages": 2,
        "posDistThr": 25,
    } | changes


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        path = tmp_path / "city_test.mat"
        savemat(path, {"dbStruct": {name: value for name, value in fields(**changes).items() if value is not None}})
        return path

    return write


def test_fields_are_found_by_name(write):
    dataset = read_dbstruct(write(), "/data")
    assert dataset.name == "city_test"
    assert dataset.database.paths.tolist() == ["/data/000/a.jpg", "/data/001/b.jpg"]
    assert dataset.database.positions.tolist() == [[0, 0], [100, 200]]
    assert dataset.queries.paths.tolist() == ["/data/000/q0.jpg"]
    assert dataset.queries.positions.tolist() == [[3, 4]]
    assert dataset.database.timestamps is None


def test_images_and_queries_lie_in_their_folders(write, tmp_path):
    for name in ("images", "queries_real"):
        (tmp_path / name).mkdir()
    dataset = read_dbstruct(write(), tmp_path)
    assert dataset.database.paths[0] == f"{tmp_path}/images/000/a.jpg"
    assert dataset.queries.paths[0] == f"{tmp_path}/queries_real/000/q0.jpg"


def test_windows_paths_and_a_missing_first_file_do_not_change_where_paths_start(write, tmp_path):
    (tmp_path / "images" / "001").mkdir(parents=True)
    (tmp_path / "images" / "001" / "b.jpg").touch()
    dataset = read_dbstruct(write(dbImageFns=cells("images\\000\\a.jpg", "images\\001\\b.jpg")), tmp_path)
    assert dataset.database.paths.tolist() == [f"{tmp_path}/images/000/a.jpg", f"{tmp_path}/images/001/b.jpg"]


def test_timestamps_are_read_where_they_are(write):
    dataset = read_dbstruct(
        write(dbTimeStamp=np.array([[200901.0, 201507.0]]), qTimeStamp=np.array([[201301.0]])), "/data"
    )
    assert dataset.database.timestamps.tolist() == [200901, 201507]
    assert dataset.queries.timestamps.tolist() == [201301]


def test_images_within_a_metre_are_the_same_panorama(write):
    assert read_dbstruct(write(), "/data").min_positive == 1


def test_positives_have_another_timestamp_where_the_file_has_timestamps(write):
    columns = {"utmDb": np.zeros((2, 2)), "utmQ": np.zeros((2, 1))}
    assert read_dbstruct(write(**columns), "/data").positives(25)[0].tolist() == [0, 1]
    stamps = {"dbTimeStamp": np.array([[200901.0, 201507.0]]), "qTimeStamp": np.array([[200901.0]])}
    assert read_dbstruct(write(**columns, **stamps), "/data").positives(25)[0].tolist() == [1]


def test_timestamps_of_one_side_alone_are_refused(write):
    with pytest.raises(ValueError, match="timestamps of both sides of 'city_test'.*database=numbers, queries=none"):
        read_dbstruct(write(dbTimeStamp=np.array([[200901.0, 201507.0]])), "/data")


def test_timestamps_may_be_text(write):
    dataset = read_dbstruct(write(dbTimeStamp=cells("2009-01", "2015-07"), qTimeStamp=cells("2013-01")), "/data")
    assert dataset.database.timestamps.tolist() == ["2009-01", "2015-07"]


def test_names_may_be_a_character_matrix(write):
    dataset = read_dbstruct(write(dbImageFns=np.array(["a.jpg", "bb.jpg"])), "/data")
    assert dataset.database.paths.tolist() == ["/data/a.jpg", "/data/bb.jpg"]


def test_pitts30k_test_has_its_published_counts(real_data):
    dataset = read_dbstruct(real_data / "positions/pitts30k_test.mat", "/nowhere")
    counts = dataset.positives(25).counts
    assert (len(dataset.queries), len(dataset.database)) == (6816, 10000)
    assert counts.min() > 0
    assert counts.mean() == pytest.approx(142.08, abs=0.005)
    assert dataset.queries.paths[0] == "/nowhere/Pittsburgh250k/queries_real/000/000546_pitch1_yaw1.jpg"


def test_tokyo247_has_its_published_counts(real_data):
    dataset = read_dbstruct(real_data / "positions/tokyo247.mat", "/nowhere")
    assert (len(dataset.queries), len(dataset.database)) == (315, 75984)
    assert dataset.positives(25).counts.min() > 0


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.mat"):
        read_dbstruct(tmp_path / "none.mat", tmp_path)


@pytest.mark.parametrize("contents", [b"", b"not a MATLAB file, but long enough to hold a header" * 10])
def test_a_file_that_is_no_mat_file_is_refused(tmp_path, contents):
    path = tmp_path / "bad.mat"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"a whole MATLAB file of version 5 to 7.3 .*Received: path=.*bad.mat"):
        read_dbstruct(path, tmp_path)


def test_a_truncated_file_is_refused(write, tmp_path):
    path = write()
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ValueError, match="it cannot be read: "):
        read_dbstruct(path, tmp_path)


def plain(images, queries):
    """Fields as `matlab_writers` takes them: lists are cell arrays."""
    return {
        "dbImageFns": images,
        "utmDb": np.array([[0.0, 100.0], [0.0, 200.0]]),
        "numImages": np.array([[2.0]]),
        "qImageFns": queries,
        "utmQ": np.array([[3.0], [4.0]]),
        "numQueries": np.array([[1.0]]),
        "dbTimeStamp": np.array([[200901.0, 201507.0]]),
        "qTimeStamp": np.array([[201507.0]]),
    }


def strings(table, *texts):
    """An array of MATLAB's class string: version, shape, characters of each, UTF-16."""
    text = "".join(texts).encode("utf-16-le")
    characters = np.frombuffer(text + bytes(-len(text) % 8), "u8")
    head = np.array([1, 2, len(texts), 1, *map(len, texts)], "u8")
    return table.add("string", {"any": np.concatenate([head, characters])[None]})


@pytest.mark.parametrize("version", ["v5", "v73"])
@pytest.mark.parametrize("kind", ["cells", "cells in cells", "cells in a cell", "strings", "strings in cells"])
def test_names_are_read_in_every_version_and_however_they_were_put_into_cells(tmp_path, version, kind):
    path = tmp_path / "city_test.mat"
    table = WRITERS.Table()
    names = ["000/a.jpg", "001/b.jpg"]
    query = "000/q.jpg"
    images, queries = {
        "cells": lambda: (names, [query]),
        "cells in cells": lambda: ([[name] for name in names], [[[query]]]),
        "cells in a cell": lambda: ([names], [query]),
        "strings": lambda: (strings(table, *names), strings(table, query)),
        "strings in cells": lambda: ([strings(table, name) for name in names], [strings(table, query)]),
    }[kind]()
    write = {"v5": WRITERS.write_v5, "v73": WRITERS.write_v73}[version]
    write(path, {"dbStruct": plain(images, queries)}, table if "strings" in kind else None)
    dataset = read_dbstruct(path, "/data")
    assert dataset.database.paths.tolist() == ["/data/000/a.jpg", "/data/001/b.jpg"]
    assert dataset.queries.paths.tolist() == ["/data/000/q.jpg"]
    np.testing.assert_array_equal(dataset.database.positions, [[0, 0], [100, 200]])
    np.testing.assert_array_equal(dataset.queries.positions, [[3, 4]])
    assert dataset.database.timestamps.tolist() == [200901, 201507]
    assert dataset.queries.timestamps.tolist() == [201507]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dbImageFns": ["a.jpg", []]}, r"`dbImageFns\{2\}` must be one file name. Received: an empty cell"),
        ({"qImageFns": [[]]}, r"`qImageFns\{1\}` must be one file name. Received: an empty cell"),
        ({"dbImageFns": ["", "b.jpg"]}, r"`dbImageFns\{1\}` must be one file name. Received: the text ''"),
        (
            {"dbImageFns": ["a.jpg", np.ones((1, 1))]},
            r"`dbImageFns\{2\}` .*: float64 of shape \(1, 1\) \[1.0\]",
        ),
        (
            {"dbImageFns": ["a.jpg", ["b.jpg", "c.jpg"]]},
            r"`dbImageFns\{2\}` .*: 2 cells, the first the text 'b",
        ),
        ({"dbImageFns": np.ones((1, 2))}, "`dbImageFns` must be a cell array of text. Received: float64"),
        (
            {"utmDb": ["1", "3", "2", "4"]},
            "`utmDb` must be a matrix of numbers, 2 x 2. .*: 4 cells, the first the text '1'",
        ),
        ({"utmQ": "12"}, "`utmQ` must be a matrix of numbers, 2 x 1. Received: the text '12'"),
        (
            {"dbTimeStamp": ["2009", np.ones((1, 1))]},
            r"`dbTimeStamp\{1\}` must be a number.*: the text '2009'",
        ),
    ],
)
@pytest.mark.parametrize("version", ["v5", "v73"])
def test_what_is_no_name_or_position_is_named_by_field_and_index(tmp_path, version, changes, message):
    path = tmp_path / "city_test.mat"
    write = {"v5": WRITERS.write_v5, "v73": WRITERS.write_v73}[version]
    write(path, {"dbStruct": plain(["a.jpg", "b.jpg"], ["q.jpg"]) | changes})
    with pytest.raises(ValueError, match=message + ".*path=.*city_test.mat"):
        read_dbstruct(path, tmp_path)


def test_timestamps_may_be_numbers_in_cells_and_empty_ones_are_none(tmp_path):
    path = tmp_path / "city_test.mat"
    times = {"dbTimeStamp": [np.full((1, 1), 7.0), np.full((1, 1), 8.0)], "qTimeStamp": np.full((1, 1), 7.0)}
    WRITERS.write_v5(path, {"dbStruct": plain(["a.jpg", "b.jpg"], ["q.jpg"]) | times})
    assert read_dbstruct(path, tmp_path).database.timestamps.tolist() == [7, 8]
    times = {"dbTimeStamp": np.zeros((0, 0)), "qTimeStamp": []}
    WRITERS.write_v5(path, {"dbStruct": plain(["a.jpg", "b.jpg"], ["q.jpg"]) | times})
    assert not read_dbstruct(path, tmp_path).other_timestamps


@pytest.mark.parametrize("contents", [{"descriptors": np.zeros((2, 3))}, {"dbStruct": np.zeros((2, 3))}])
def test_a_file_without_the_struct_tells_what_it_holds(tmp_path, contents):
    path = tmp_path / "other.mat"
    savemat(path, contents)
    with pytest.raises(
        ValueError, match=rf"one struct named dbStruct. .*'{next(iter(contents))}: float64 of shape \(2, 3\)'"
    ):
        read_dbstruct(path, tmp_path)


def test_a_missing_field_is_named(write, tmp_path):
    with pytest.raises(ValueError, match=r"must have the fields \['utmQ'\], it has \['qImageFns'"):
        read_dbstruct(write(utmQ=None), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"utmDb": np.zeros((2, 3))}, r"`utmDb` must be 2 x 2, .* of shape \(2, 3\)"),
        ({"utmDb": np.zeros((3, 2))}, r"`utmDb` must be 2 x 2, .* of shape \(3, 2\)"),
        ({"numImages": 3}, r"`numImages` must be the number of `dbImageFns`, 2: .* \[3\]"),
        ({"numQueries": 7}, r"`numQueries` must be the number of `qImageFns`, 1: .* \[7\]"),
        (
            {"dbTimeStamp": np.zeros((1, 3)), "qTimeStamp": np.zeros((1, 1))},
            r"`timestamps` must hold one entry for each of the 2 `paths`",
        ),
    ],
)
def test_a_struct_that_contradicts_itself_is_refused(write, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_dbstruct(write(**changes), tmp_path)


def test_no_queries_are_refused(write, tmp_path):
    with pytest.raises(ValueError, match="`queries` must hold at least one image: dataset 'city_test'"):
        read_dbstruct(write(qImageFns=np.empty((0, 0), object), utmQ=np.zeros((2, 0)), numQueries=0), tmp_path)
