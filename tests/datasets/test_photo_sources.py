"""Sources of photos: what each lists, that it goes on where it was left, and what they refuse."""

import io
import json
import re
import tarfile

import numpy as np
import pytest

from keras_sare.datasets.photo_sources import manifest_photos, unique_names
from keras_sare.datasets.photo_sources.files import FileTooLargeError, expanded, read_range
from keras_sare.datasets.photo_sources.open_photos import open_photos
from keras_sare.datasets.photo_sources.source_photo import SourcePhoto

fsspec = pytest.importorskip("fsspec")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["a/1.jpg", "a/2.JPG", "b/0.jpeg", "b/c/x.png", "b.jpg", "b0.webp", "z.gif"]
"""In the order of folders, which is not that of the whole paths."""


def make_folder(root):
    for name in [*NAMES, "b/.hidden.jpg", "@eaDir/thumb.jpg", "notes.txt"]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (root / "a" / "loop").symlink_to(root)
    return str(root)


def make_list(root):
    rows = [f"{i}.jpg,{'query' if i % 5 == 0 else 'database'},{i},{2 * i},{i % 3},w{i % 2}" for i in range(20_600)]
    (root / "places.csv").write_text("\n".join(["image,role,easting,northing,heading,pass", *rows]) + "\n")
    return str(root)


def manifest_table(count, **columns):
    known = {
        "id": [f"p{i}" for i in range(count)],
        "uri": [f"photos/{i}.jpg" for i in range(count)],
        "latitude": np.linspace(-90, 90, count),
        "longitude": np.linspace(-180, 180, count),
    }
    return pa.table({name: column for name, column in (known | columns).items() if column is not None})


def make_manifests(root):
    """Whose row groups do not end where batches do."""
    for number, count in enumerate((5000, 1, 4097)):
        ids = [f"{number}-{i}" for i in range(count)]
        pq.write_table(manifest_table(count, id=ids), root / f"part-{number}.parquet", row_group_size=1234)
    return f"{root}/part-{{0..2}}.parquet"


def add(tar, name, contents):
    member = tarfile.TarInfo(name)
    member.size = len(contents)
    tar.addfile(member, io.BytesIO(contents))


def make_tars(root):
    for number in range(3):
        with tarfile.open(root / f"s-{number:02d}.tar", "w") as tar:
            for i in range(5):
                add(tar, f"{i}.jpg", f"{number} {i}".encode())
                if i % 2:
                    add(tar, f"{i}.right.jpg", b"another side")
                add(tar, f"{i}.json", json.dumps({"lat": 51 + i / 10, "lon": number, "heading": 90}).encode())
                add(tar, f"{i}.txt", b"x" * 700)
    return f"{root}/s-*.tar"


MAKERS = {"folder": make_folder, "list": make_list, "manifests": make_manifests, "tars": make_tars}


@pytest.fixture(scope="module", params=MAKERS)
def source(request, tmp_path_factory):
    return open_photos(MAKERS[request.param](tmp_path_factory.mktemp(request.param)))


def test_a_source_goes_on_after_any_photo_and_counts_them(source):
    listed = list(source.photos())
    photos = [one.photo for one in listed]
    assert source.count() == len(photos)
    assert len({photo.name for photo in photos}) == len(photos)
    source.check_names(1e9)
    json.dumps([source.state(), listed[-1].after])
    few = 21 if len(photos) < 100 else 2
    for number in {*range(min(len(photos), few)), len(photos) - 1, 1233, 4095, 4999}:
        if number < len(photos):
            after = json.loads(json.dumps(listed[number].after))
            rest = source.photos(after)
            assert [one.photo for one, _ in zip(rest, range(3), strict=False)] == photos[number + 1 : number + 4]


def test_folders_are_walked_in_order_and_links_that_lead_back_are_left(tmp_path):
    found = open_photos(make_folder(tmp_path)).photos()
    assert [one.photo.name for one in found] == NAMES


def test_database_images_of_a_list_have_what_it_says(tmp_path):
    source = open_photos(make_list(tmp_path))
    photo = next(source.photos()).photo
    known = photo.position, photo.heading, photo.traversal
    assert (source.kind, photo.name, *known) == ("metres", "1.jpg", (1.0, 2.0), 1.0, "w1")


def test_bytes_of_photos_in_tars_are_theirs(tmp_path):
    photos = [one.photo for one in open_photos(make_tars(tmp_path)).photos()]
    assert len(photos) == 3 * 7
    assert read_range(photos[-1].uri, 100, photos[-1].offset, photos[-1].size) == b"2 4"
    assert (photos[-1].name, photos[-1].position, photos[-1].heading) == ("s-02/4.jpg", (51.4, 2.0), 90.0)
    assert [photo.name for photo in photos[1:3]] == ["s-00/1.jpg", "s-00/1.right.jpg"]


def test_addresses_are_read_like_paths(tmp_path):
    memory = fsspec.filesystem("memory")
    make_tars(tmp_path)
    for path in tmp_path.glob("*.tar"):
        memory.pipe(f"/sources/tars/{path.name}", path.read_bytes())
    for name in NAMES:
        memory.pipe(f"/sources/folder/{name}", name.encode())
    tars = [one.photo for one in open_photos("memory://sources/tars/s-{00..02}.tar").photos()]
    here = [one.photo for one in open_photos(f"{tmp_path}/s-*.tar").photos()]
    assert [photo.name for photo in tars] == [photo.name for photo in here]
    assert read_range(tars[-1].uri, 100, tars[-1].offset, tars[-1].size) == b"2 4"
    folder = [one.photo for one in open_photos("memory://sources/folder").photos()]
    assert [photo.name for photo in folder] == NAMES
    assert read_range(folder[3].uri, 100) == b"b/c/x.png"
    with pytest.raises(FileTooLargeError, match="9 bytes, at most 8"):
        read_range(folder[3].uri, 8)
    with pytest.raises(ValueError, match="without `::`"):
        open_photos("zip://a.jpg::file:///tmp/x.zip")


def test_manifest_columns_may_come_in_several_types(tmp_path):
    table = manifest_table(
        3,
        latitude=None,
        longitude=None,
        uri=["x.jpg", "/y.jpg", "memory://z.jpg"],
        position=pa.array([{"latitude": 1.0, "longitude": 2.0}, {"latitude": None, "longitude": 2.0}, None]),
        time=pa.array([1_700_000_000_123] * 3, pa.timestamp("ms")),
        sha256=pa.array([b"\1" * 32, None, b"\2" * 32], pa.binary(32)),
        heading=pa.array([90, None, 270], pa.int32()),
    )
    pq.write_table(table, tmp_path / "m.parquet")
    one, two, three = (listed.photo for listed in open_photos(f"{tmp_path}/m.parquet").photos())
    assert (one.uri, two.uri, three.uri) == (f"{tmp_path}/x.jpg", "/y.jpg", "memory://z.jpg")
    assert one == SourcePhoto("p0", one.uri, (1.0, 2.0), 90.0, "2023-11-14T22:13:20", "", "01" * 32)
    assert (two.located, np.isnan(two.heading), two.sha256) == (False, True, "")
    assert not three.located


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"uri": None}, "must have the columns id, uri"),
        ({"longitude": None}, "must have the columns id, uri"),
        ({"easting": [1.0, 2.0], "northing": [1.0, 2.0]}, "either latitude and longitude or easting"),
        ({"latitude": ["north", "south"]}, "latitude of type string"),
        ({"time": [1, 2]}, "time of type int64"),
    ],
)
def test_manifests_that_miss_what_is_needed_are_refused(tmp_path, columns, said):
    pq.write_table(manifest_table(2, **columns), tmp_path / "m.parquet")
    with pytest.raises(ValueError, match=re.escape(said)):
        open_photos(f"{tmp_path}/m.parquet")


def test_damaged_manifests_and_large_row_groups_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.parquet"
    pq.write_table(manifest_table(2000), path)
    monkeypatch.setattr(manifest_photos, "MOST_ROW_GROUP", 1000)
    with pytest.raises(ValueError, match="row groups must have at most 1000 bytes"):
        open_photos(str(path))
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="must be a Parquet file"):
        open_photos(str(path))


def test_names_that_occur_twice_are_found_in_little_memory(tmp_path):
    ids = [f"p{i}" for i in range(5000)]
    unique_names.check_unique(lambda: ids, len(ids), 10_000)
    pq.write_table(manifest_table(5000, id=[*ids[:-1], "p77"]), tmp_path / "m.parquet")
    for memory in (1e9, 10_000):
        with pytest.raises(ValueError, match="'p77' twice"):
            open_photos(f"{tmp_path}/m.parquet").check_names(memory)


def test_tars_that_are_cut_short_damaged_or_compressed_are_refused(tmp_path):
    make_tars(tmp_path)
    whole = (tmp_path / "s-00.tar").read_bytes()
    wrong = tmp_path / "wrong.tar"
    damaged = bytearray(whole)
    damaged[2 * 512 : 2 * 512 + 200] = b"x" * 200
    endless = bytearray(whole)
    endless[124:136] = b"\xff" * 12  # A size below 0.
    for contents in (whole.rstrip(b"\0"), whole[:700], bytes(damaged), bytes(endless), b"\x1f\x8b" + whole):
        wrong.write_bytes(contents)
        with pytest.raises(ValueError, match="must be a whole tar file that is not compressed"):
            list(open_photos(str(wrong)).photos())


def test_headers_that_ask_for_much_are_refused_before_they_are_read(tmp_path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 30
    path = tmp_path / "large.tar"
    with path.open("wb") as file:
        file.write(header.tobuf())
        file.truncate(1 << 31)
    with pytest.raises(ValueError, match="a header of 1073741824 bytes"):
        open_photos(str(path))


def test_what_a_source_says_of_a_photo_is_checked():
    assert SourcePhoto("a", "b").fault("degrees") == ""
    faults = [
        (SourcePhoto("", "b"), "its id has 0 characters"),
        (SourcePhoto("a", "b" * 5000), "its uri has 5000 characters"),
        (SourcePhoto("\udc80", "b"), "its id cannot be written as UTF-8"),
        (SourcePhoto("a", "b", sha256="12"), "its sha256 is not 64"),
        (SourcePhoto("a", "b", (91.0, 0.0)), "its latitude is not in"),
    ]
    for photo, said in faults:
        assert photo.fault("degrees").startswith(said)
    assert SourcePhoto("a", "b", (91.0, 500.0)).fault("metres") == ""


def test_sources_that_are_not_there_or_are_something_else_are_told(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"")
    for text, error in (("nowhere", FileNotFoundError), ("nowhere-{0..3}.tar", FileNotFoundError)):
        with pytest.raises(error, match="nowhere"):
            open_photos(str(tmp_path / text))
    with pytest.raises(ValueError, match=r"end in .csv, .parquet or .tar"):
        open_photos(str(tmp_path / "x.zip"))
    assert expanded(f"{tmp_path}/x.{{zip,zip}}") == [f"{tmp_path}/x.zip"] * 2
    with pytest.raises(ValueError, match="at most 1000000 files"):
        expanded("{0..9999}{0..9999}.tar")
