"""Files that are not what they are named as: one line, exit status 1, and nothing is left behind."""

import shutil

import pytest

from keras_sare.utils.error_text import expected_errors
from trainers import pitts
from trainers.config import PittsConfig
from trainers.config.flags import parse

# How zip archives, HDF5 and MATLAB files begin, and then nothing that makes sense.
BROKEN = {
    "npz": b"PK\x03\x04" + b"no archive" * 50,
    "keras": b"PK\x03\x04" + b"no archive" * 50,
    "pth": b"PK\x03\x04" + b"no archive" * 50,
    "pt": b"\x80\x02no pickle",
    "tar": b"\x80\x02no pickle",
    "h5": b"\x89HDF\r\n\x1a\n" + b"no file" * 50,
    "weights.h5": b"\x89HDF\r\n\x1a\n" + b"no file" * 50,
    "mat": b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"no matrix" * 50,
}


@pytest.fixture
def ends(town, tmp_path):
    """Runs the program with some flags to its end, and returns what it tells."""

    def ends(*given):
        chosen = [f"--root={town}", f"--output={tmp_path / 'run'}", "--image_size=32,48", "--dim=4"]
        with pytest.raises(SystemExit) as ended, expected_errors("trainers.pitts"):
            pitts.run(parse(PittsConfig, [*chosen, *given])[0])
        told = ended.value.code
        assert told.startswith("trainers.pitts: ")
        assert "\n" not in told
        assert not (tmp_path / "run").exists()
        return told

    return ends


@pytest.mark.usefixtures("unread_images")
@pytest.mark.parametrize("ending", BROKEN)
def test_broken_weights(ends, tmp_path, ending):
    path = tmp_path / f"broken.{ending}"
    path.write_bytes(BROKEN[ending])
    preprocessing = [] if ending == "keras" else ["--preprocessing=torch"]
    assert f"broken.{ending}" in ends(f"--weights={path}", *preprocessing)


@pytest.mark.usefixtures("unread_images")
@pytest.mark.parametrize("name", ["missing.npz", "missing.h5", "missing.pth", "missing.keras", "missing", "."])
def test_weights_that_are_no_file(ends, tmp_path, name):
    assert "must" in ends(f"--weights={tmp_path / name}")


@pytest.mark.parametrize("content", [BROKEN["mat"], BROKEN["mat"][:100], b"", b"no file"])
def test_broken_lists_of_matlab(ends, tmp_path, content):
    root = tmp_path / "dataset"
    root.mkdir()
    for split in ("train", "val", "test"):
        (root / f"town_{split}.mat").write_bytes(content)
    assert "town_train.mat" in ends(f"--root={root}")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01" * 20, b"image,role\na.jpg", b"image;role;lat\n1;2;3\n"])
def test_broken_table(ends, tmp_path, content):
    root = tmp_path / "dataset"
    root.mkdir()
    (root / "places.csv").write_bytes(content)
    assert "places.csv" in ends(f"--root={root}")


def test_folder_without_lists(ends, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "`root` must hold places.csv" in ends(f"--root={tmp_path / 'empty'}")


def test_dataset_whose_images_are_gone(ends, town, tmp_path):
    root = tmp_path / "town"
    root.mkdir()
    shutil.copy(town / "places.csv", root)
    assert "the 6 above are to be mended (missing)" in ends(f"--root={root}")


@pytest.mark.usefixtures("unread_images")
@pytest.mark.parametrize("flag", ["output", "store"])
def test_place_that_cannot_be_written(ends, tmp_path, flag):
    (tmp_path / "file").touch()
    assert f"{str(tmp_path / 'file' / 'here')!r} must be a folder that" in ends(
        f"--{flag}={tmp_path / 'file' / 'here'}"
    )
