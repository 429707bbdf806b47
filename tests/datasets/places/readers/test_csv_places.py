import re
from pathlib import Path

import numpy as np
import pytest

from keras_sare.datasets import earth_centred, open_dataset, read_csv, read_dbstruct
from keras_sare.datasets.places.readers import csv_table

METRES = "image,role,easting,northing\n"
BOTH = "image,role,lat,lon,easting,northing\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "town" / "places.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path, path.parent

    return write


def test_planar_positions_are_read(write):
    path, root = write(METRES + "a.jpg,database,1.5,2\nb/c.jpg,query,-3,4e2\n")
    datasets = read_csv(path, root)
    assert list(datasets) == ["all"]
    dataset = datasets["all"]
    assert dataset.name == "town_all"
    assert dataset.database.paths.tolist() == [f"{root}/a.jpg"]
    assert dataset.database.positions.tolist() == [[1.5, 2]]
    assert dataset.queries.paths.tolist() == [f"{root}/b/c.jpg"]
    assert dataset.queries.positions.tolist() == [[-3, 400]]
    assert dataset.database.coordinates is None
    assert dataset.database.places is None


@pytest.mark.parametrize("header", ["path,role,lat,lon", "image,role,latitude,longitude", " Image ,ROLE,Lat,Lon"])
def test_degrees_become_earth_centred_metres(write, header):
    path, root = write(f"{header}\na.jpg,database,55.75,37.62\nb.jpg,Query,55.7501,37.62\n")
    dataset = read_csv(path, root)["all"]
    np.testing.assert_array_equal(dataset.database.positions, earth_centred([55.75], [37.62]))
    assert dataset.database.coordinates.tolist() == [[55.75, 37.62]]
    assert dataset.positives(25).counts.tolist() == [1]


def test_optional_columns_are_read_and_others_ignored(write):
    path, root = write(
        "pass,camera,image,role,easting,northing,timestamp,place\n"
        "walk1,left,a.jpg,database,0,0,2015-07,hall\nwalk2,right,q.jpg,query,1,1,2016-01,hall\n"
    )
    dataset = read_csv(path, root)["all"]
    assert dataset.database.traversals.tolist() == ["walk1"]
    assert dataset.queries.timestamps.tolist() == ["2016-01"]
    assert dataset.queries.places.tolist() == ["hall"]


def test_numbers_that_not_every_image_has_may_be_empty_cells(write):
    path, root = write(
        "image,role,easting,northing,heading,frame,condition\n"
        "a.jpg,database,0,0,359.5,7,\nb.jpg,database,0,0,,NaN,\nq.jpg,query,1,1,-10,12,night\n"
    )
    dataset = read_csv(path, root)["all"]
    np.testing.assert_array_equal(dataset.database.headings, [359.5, np.nan])
    np.testing.assert_array_equal(dataset.database.frames, [7, np.nan])
    assert dataset.queries.headings.tolist() == [-10]
    assert dataset.queries.conditions.tolist() == ["night"]


def test_headings_of_london_are_read(real_data):
    queries = open_dataset(real_data / "msls_london", "test").queries
    assert len(queries) == 497
    assert queries.headings.min() >= 0
    assert queries.headings.max() < 360


def test_the_column_of_traversals_may_be_called_so(write):
    path, root = write("traversal,image,role,place\nwalk1,a.jpg,database,hall\nwalk2,q.jpg,query,hall\n")
    dataset = read_csv(path, root)["all"]
    assert dataset.database.traversals.tolist() == ["walk1"]
    assert dataset.queries.traversals.tolist() == ["walk2"]


def test_a_place_is_enough_without_positions(write):
    path, root = write(
        "image,role,place\na.jpg,database,hall\nb.jpg,database,stairs\nc.jpg,database,hall\n"
        "q.jpg,query,hall\nr.jpg,query,roof\n"
    )
    dataset = read_csv(path, root)["all"]
    assert dataset.database.positions is None
    assert dataset.database.places.tolist() == ["hall", "stairs", "hall"]
    assert [row.tolist() for row in dataset.positives(25)] == [[0, 2], []]


def test_positions_alone_say_what_is_near_where_places_are_named_too(write):
    path, root = write(
        "image,role,place,easting,northing\na.jpg,database,hall,0,0\nb.jpg,database,hall,80,0\nq.jpg,query,stairs,1,0\n"
    )
    assert [row.tolist() for row in read_csv(path, root)["all"].positives(25)] == [[0]]


def test_neither_distance_nor_timestamp_restricts_positives_of_a_csv_file_by_itself(write):
    path, root = write(METRES.replace("easting", "timestamp,easting") + "a.jpg,database,7,0,0\nq.jpg,query,7,0,0\n")
    dataset = read_csv(path, root)["all"]
    assert (dataset.min_positive, dataset.other_timestamps) == (0, False)


def test_first_file_that_is_missing_does_not_change_where_paths_start(write):
    names = [f"images/{i}.jpg" for i in range(24)]
    rows = "".join(f"{name},database,0,0\n{name.replace('images', 'queries')},query,0,0\n" for name in names)
    path, root = write(METRES + rows)
    for name in names[1:]:
        for folder in ("images", "queries"):
            (root / folder).mkdir(exist_ok=True)
            (root / name.replace("images", folder)).touch()
    dataset = read_csv(path, root)["all"]
    assert dataset.database.paths.tolist() == [f"{root}/{name}" for name in names]
    assert dataset.queries.paths.tolist() == [f"{root}/{name.replace('images', 'queries')}" for name in names]


def test_images_and_queries_lie_in_their_folders(write):
    path, root = write(METRES + "a.jpg,database,0,0\nq.jpg,query,0,0\n")
    (root / "images").mkdir()
    (root / "queries").mkdir()
    dataset = read_csv(path, root)["all"]
    assert dataset.database.paths.tolist() == [f"{root}/images/a.jpg"]
    assert dataset.queries.paths.tolist() == [f"{root}/queries/q.jpg"]


def test_rows_of_all_splits_belong_to_every_split(write):
    path, root = write(
        "image,role,split,easting,northing\n"
        "a.jpg,database,train,0,0\nb.jpg,query,train,0,0\nc.jpg,database,all,0,0\nd.jpg,query,Val,0,0\n"
    )
    datasets = read_csv(path, root)
    assert list(datasets) == ["train", "val"]
    assert datasets["train"].database.paths.tolist() == [f"{root}/a.jpg", f"{root}/c.jpg"]
    assert datasets["val"].database.paths.tolist() == [f"{root}/c.jpg"]
    assert datasets["val"].queries.paths.tolist() == [f"{root}/d.jpg"]


def test_a_file_that_names_no_split_is_one_dataset(write):
    path, root = write("image,role,split,easting,northing\na.jpg,database,all,0,0\nb.jpg,query,,0,0\n")
    datasets = read_csv(path, root)
    assert list(datasets) == ["all"]
    assert (len(datasets["all"].database), len(datasets["all"].queries)) == (1, 1)


def test_quotes_blank_lines_and_a_byte_order_mark_are_understood(write):
    path, root = write("\ufeff" + METRES + '"a, b.jpg",database,0,0\n\n./q.jpg,query,0,0\n\n')
    dataset = read_csv(path, root)["all"]
    assert dataset.database.paths.tolist() == [f"{root}/a, b.jpg"]
    assert dataset.queries.paths.tolist() == [f"{root}/q.jpg"]


def test_of_two_pairs_of_columns_the_filled_one_counts(write):
    path, root = write(BOTH + "a.jpg,database,,,1,2\nb.jpg,query,,,3,4\n")
    assert read_csv(path, root)["all"].database.positions.tolist() == [[1, 2]]
    path, root = write(BOTH + "a.jpg,database,1,2,,\nb.jpg,query,3,4,,\n")
    assert read_csv(path, root)["all"].database.coordinates.tolist() == [[1, 2]]


def test_the_result_does_not_depend_on_the_chunks(write, monkeypatch):
    rows = [
        f"{i}.jpg,{'query' if i % 3 else 'database'},{'train' if i % 2 else 'val'},{i},{2 * i},p{i}\n"
        for i in range(40)
    ]
    path, root = write("image,role,split,easting,northing,place\n" + "".join(rows))
    whole = read_csv(path, root)
    monkeypatch.setattr(csv_table, "ROWS_PER_CHUNK", 7)
    parts = read_csv(path, root)
    assert list(whole) == list(parts) == ["val", "train"]
    for split, dataset in whole.items():
        for side in ("database", "queries"):
            assert getattr(dataset, side).paths.tolist() == getattr(parts[split], side).paths.tolist()
            assert getattr(dataset, side).positions.tolist() == getattr(parts[split], side).positions.tolist()
            assert getattr(dataset, side).places.tolist() == getattr(parts[split], side).places.tolist()


def test_ie_tower_is_the_same_from_csv_and_mat(real_data):
    root = real_data / "ie_tower"
    datasets = read_csv(root / "places.csv", root)
    sizes = {split: (len(dataset.queries), len(dataset.database)) for split, dataset in datasets.items()}
    assert sizes == {"train": (292, 324), "val": (120, 136), "test": (286, 308)}
    for split, dataset in datasets.items():
        other = read_dbstruct(root / f"datasets/ie_tower_{split}.mat", root)
        assert dataset.name == other.name
        for side in ("database", "queries"):
            np.testing.assert_array_equal(getattr(dataset, side).paths, getattr(other, side).paths)
            np.testing.assert_array_equal(getattr(dataset, side).positions, getattr(other, side).positions)
            assert all(Path(path).exists() for path in getattr(dataset, side).paths)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            r"missing: image, role, easting and .*, or place alone. Received: .* with the columns \[\]",
        ),
        (
            "image,role,easting\n",
            r"missing: easting and northing, or lat and lon, or place alone. .*'easting'\]",
        ),
        ("file,role,lat,lon\n", r"missing: image. Received"),
        ("image,lat,lon\n", r"missing: role. Received"),
        (METRES, r"`path` must list at least one image below its header"),
        (METRES + "a.jpg,database,0,0\nb.jpg,query,x,0\n", r"Row 3 of `path` must give the easting .*easting='x'"),
        (METRES + "a.jpg,database,0,\n", r"Row 2 of `path` must give the northing as a number, metres. .*northing=''"),
        (METRES + "a.jpg,database,nan,0\n", r"Row 2 .*easting='nan'"),
        (METRES + "\n\na.jpg,database,inf,0\n", r"Row 4 .*easting='inf'"),
        (
            "image,role,place,heading\na.jpg,database,hall,north\n",
            r"Row 2 of `path` must give the heading as a number, degrees .*, or leave .*heading='north'",
        ),
        ("image,role,place,frame\na.jpg,database,hall,inf\n", r"Row 2 .* the frame as a number, .*frame='inf'"),
        (METRES + "a.jpg,gallery,0,0\n", r"Row 2 of `path` must have one of the roles .*role='gallery'"),
        (METRES + ",query,0,0\n", r"Row 2 of `path` must name an image"),
        (METRES + "a.jpg,database,0\n", r"Row 2 of `path` must have at least 4 columns. Received: .*3 columns"),
        (
            "image,role,lat,lon\na.jpg,database,139.7,35.6\n",
            r"Row 2 of `path` must give the latitude as a number, degrees in \[-90, 90\]. .*latitude='139.7'",
        ),
        ("image,role,lat,lon\na.jpg,database,0,200\n", r"longitude as a number, degrees in \[-180, 180\]"),
        (
            BOTH + "a.jpg,database,1,2,3,4\n",
            r"Row 2 of `path` must not mix degrees with metres.*easting='3', northing='4'",
        ),
        (
            BOTH + "a.jpg,database,1,2,,\nb.jpg,query,,,5,6\n",
            r"Row 3 of `path` must not mix degrees with metres.*easting='5', northing='6', latitude='', longitude=''",
        ),
        (
            "image,role,place\na.jpg,database,hall\nq.jpg,query,\n",
            r"Row 3 of `path` must name its place, where there are no columns of positions",
        ),
        ("image,role,place,easting\na.jpg,database,hall,0\n", r"missing: easting and northing"),
        (
            "image,role,place,easting,northing\na.jpg,database,hall,,\n",
            r"row 2 .*easting as a number, metres; leave these columns out where `place` alone says what belongs",
        ),
        (
            METRES + "a.jpg,database,0,0\n",
            r"`path` must list images of both roles, .* in which all has no query images",
        ),
        (METRES + "a.jpg,query,0,0\n", r"in which all has no database images"),
        (
            "image,role,split,easting,northing\na.jpg,database,val,0,0\nb.jpg,query,test,0,0\n",
            r"in which val has no query, test has no database images",
        ),
        (
            "image,role,split,easting,northing\na.jpg,database,train,0,0\nb.jpg,query,,0,0\n",
            r"must give every row a split, or none: `all` .*the splits \['train'\] and 1 rows without one",
        ),
    ],
)
def test_bad_files_are_refused_by_row(write, text, message):
    path, root = write(text)
    with pytest.raises(ValueError, match=message):
        read_csv(path, root)


def test_all_wrong_rows_are_told_at_once(write):
    """Whatever is wrong with them, also where chunks end."""
    path, root = write(METRES + "a.jpg,database,x,y\nb.jpg,gallery,0,0\nc.jpg,query,0\n,query,z,0\nd.jpg,query,0,0\n")
    with pytest.raises(ValueError) as error:
        read_csv(path, root)
    assert str(error.value) == (
        "4 rows of `path` must be corrected: row 2 (easting='x'), 5 (easting='z') must give the easting as a number, "
        "metres; row 2 (northing='y') must give the northing as a number, metres; row 3 (role='gallery') must have one "
        "of the roles ['database', 'query']; row 4 (3 columns: ['c.jpg', 'query', '0']) must have at least 4 columns; "
        f"row 5 (an empty cell) must name an image. Received: path={path}"
    )


def test_of_many_wrong_rows_the_first_ten_are_named_and_all_are_counted(write, monkeypatch):
    monkeypatch.setattr(csv_table, "ROWS_PER_CHUNK", 4)
    text = METRES + "a.jpg,database,0,0\n" + "b.jpg,gallery,0,0\n" * 25 + "c.jpg,query,0,0\n"
    path, root = write(text)
    with pytest.raises(ValueError, match="^25 rows of `path` must be .* and so on .the first 10 are named.") as error:
        read_csv(path, root)
    assert re.findall(r"(\d+) \(role=", str(error.value)) == [str(number) for number in range(3, 13)]


def test_a_file_that_is_not_text_is_refused(write):
    path, root = write("")
    path.write_bytes(b"\xff\xd8\xff\xe0" * 50)
    with pytest.raises(ValueError, match="`path` must be a CSV file in UTF-8"):
        read_csv(path, root)
