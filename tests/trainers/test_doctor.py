"""The doctor names each of two dozen faults in a small set of real photos, and none where there is none."""

import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from keras_sare.datasets.checks import photo_looks
from keras_sare.datasets.images import unreadable_files
from trainers import doctor
from trainers.config import DoctorConfig

COPIES = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "data" / "broken_copies.py")))
PLACES = 5
PHOTOS = 2 * 3 * PLACES


@pytest.fixture(scope="module")
def street(real_data):
    """The folder of the photos, and the rows of those that are taken."""
    data = real_data / "msls_london"
    return data, COPIES.choose(data, PLACES)


@pytest.fixture(scope="module")
def examine(tmp_path_factory, street):
    """Makes a copy, and returns kinds and levels of what is found; what was decoded once is known in all of them."""
    folder = tmp_path_factory.mktemp("copies")

    def examine(fault, **settings):
        root = folder / "london"
        shutil.rmtree(root, ignore_errors=True)
        COPIES.make(fault, *street, root)
        return found(root, folder, **settings)

    return examine


def found(root, folder, **settings):
    doctor.run(DoctorConfig(root=str(root), output=str(folder / "out"), cache=str(folder / "cache"), **settings))
    return COPIES.found(folder / "out")


@pytest.fixture
def uncosted(monkeypatch):
    """Without the estimate of costs, which takes longer than all else."""
    from trainers.stages.places import examination

    finding = examination.estimate_costs({"test": (1, 1)}, Path())
    monkeypatch.setattr(examination, "estimate_costs", lambda *_: finding)


@pytest.mark.usefixtures("uncosted")
@pytest.mark.parametrize("fault", COPIES.FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_is_named_and_nothing_else(examine, fault):
    assert examine(fault) == COPIES.FAULTS[fault]


def test_nothing_is_wrong_with_the_unbroken_copy_and_a_training_on_it_has_costs(examine, capsys):
    assert examine(COPIES.sound) == set()
    told = capsys.readouterr().out
    assert "\nNothing is wrong.\n" in told
    assert f" to describe all {PHOTOS} images once, then " in told
    assert "GB of disk (" in told


def test_lists_alone_are_looked_at_where_nothing_is_to_be_decoded(examine, capsys):
    assert examine(COPIES.swapped, decode=False) == {("swapped", "error")}
    assert examine(COPIES.cut_short, decode=False) == set()
    assert "[costs]" not in capsys.readouterr().out


def test_positions_without_photos_have_no_costs_and_no_photo_is_tried(street, tmp_path, monkeypatch, capsys):
    COPIES.write(tmp_path, street[1])
    monkeypatch.setattr(unreadable_files, "find_corrupt", None)
    assert found(tmp_path, tmp_path) == {("missing", "error")}
    told = capsys.readouterr().out
    assert f"{PLACES} of {PLACES} files are missing ({street[1][0]['image']}, " in told
    assert "[costs]" not in told


@pytest.mark.usefixtures("uncosted")
def test_what_was_decoded_is_remembered_until_a_file_changes(street, tmp_path, monkeypatch):
    root = tmp_path / "london"
    COPIES.copy(*street, root)
    decoded = []
    looked_at = []
    find = unreadable_files.find_corrupt
    orientation = photo_looks.picture_orientation
    monkeypatch.setattr(unreadable_files, "find_corrupt", lambda paths: decoded.extend(paths) or find(paths))
    monkeypatch.setattr(photo_looks, "picture_orientation", lambda one: looked_at.append(one) or orientation(one))
    assert found(root, tmp_path) == set()
    assert len(decoded) == len(looked_at) == PHOTOS
    decoded.clear()
    looked_at.clear()
    assert found(root, tmp_path) == set()
    assert decoded == looked_at == []
    COPIES.cut_short(root, street[1])
    assert found(root, tmp_path) == {("corrupt", "error")}
    assert decoded == [str(COPIES.photo(root, street[1], "query"))]
    (tmp_path / "cache" / ".doctor.npy").write_bytes(b"damaged")
    assert found(root, tmp_path) == {("corrupt", "error")}
    assert len(looked_at) == PHOTOS - 1


def test_photos_without_a_list_are_still_looked_at(street, tmp_path):
    root = tmp_path / "photos"
    COPIES.copy(*street, root)
    (root / "places.csv").unlink()
    COPIES.web_page(root, street[1])
    assert found(root, tmp_path) == {("no_places", "warning"), ("corrupt", "error")}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kitay_gorod", {("no_places", "note")}),
        ("sceaux_castle", {("no_places", "warning")}),
        ("weights", {("no_places", "error")}),
        ("positions", {("missing", "error"), ("splits", "warning"), ("unread_list", "note")}),
        ("ie_tower", {("duplicate", "warning")}),
        ("msls_london", {("radius", "warning"), ("far", "warning")}),
    ],
)
def test_published_data_are_told_as_they_are(real_data, tmp_path, name, expected):
    """Without decoding: 281 of London's queries for training have no positive within 10 m, 23 none near."""
    assert found(real_data / name, tmp_path, decode=False) == expected


def test_status_says_whether_something_would_break_a_run(tmp_path):
    config = DoctorConfig(root=str(tmp_path), decode=False)
    with pytest.raises(SystemExit) as ended:
        doctor.run_and_exit(config)
    assert ended.value.code == 1
    rows = [{"image": f"{role}.jpg", "role": role, "place": "a"} for role in ("database", "query")]
    COPIES.write(tmp_path, rows)
    for row in rows:
        (tmp_path / row["image"]).write_text(row["image"])
    doctor.run_and_exit(config)  # Splits are missing: that is a warning.
