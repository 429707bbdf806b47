"""Models whose numbers are written down here, and a random one of pycolmap's, text and binary."""

import re
import sys

import numpy as np
import pytest

from keras_sare.datasets.sfm.sfm_colmap import model_folders, read_model, read_models
from keras_sare.datasets.sfm.sfm_pycolmap import import_pycolmap, quiet_pycolmap

CAMERAS = "1 SIMPLE_PINHOLE 640 480 100 320 240\n2 PINHOLE 640 480 200 300 320 240\n"
# b.jpg looks along x, from (2, 0, 4): its pose turns the model by -90 degrees about y.
IMAGES = """2 0.7071067811865476 0 -0.7071067811865476 0 4 0 -2 2 b.jpg
330 240 9 320 240 -1 320 250 5 331 240 9
1 1 0 0 0 0 0 0 1 a.jpg
320 240 5 330 240 7
"""
POINTS = """5 0 0 4 255 255 255 0.1 1 0 2 2
7 0 1 10 0 0 0 0.2 1 1 2 1
9 6 0 4 0 0 0 0.3 2 0 2 3
"""


@pytest.fixture
def written(tmp_path):
    folder = tmp_path / "text"
    write_text(folder)
    return folder


def write_text(folder, images=IMAGES, points=POINTS):
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(CAMERAS)
    (folder / "images.txt").write_text(images)
    (folder / "points3D.txt").write_text(points)


def synthetic(pycolmap):
    pycolmap.set_random_seed(1)
    return pycolmap.synthesize_dataset(
        pycolmap.SyntheticDatasetOptions(num_rigs=2, num_frames_per_rig=3, num_points3D=40, track_length=4)
    )


def as_binary(folder, target):
    target.mkdir()
    with quiet_pycolmap() as pycolmap:
        pycolmap.Reconstruction(str(folder)).write_binary(str(target))
    return target


def test_pycolmap_is_quiet_as_long_as_one_of_several_threads_wants_it_so():
    first = quiet_pycolmap()
    second = quiet_pycolmap()
    pycolmap = import_pycolmap()
    before = pycolmap.logging.minloglevel
    assert before != int(pycolmap.logging.FATAL)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert pycolmap.logging.minloglevel == int(pycolmap.logging.FATAL)
    second.__exit__(None, None, None)
    assert pycolmap.logging.minloglevel == before


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_centres_points_and_scales_are_those_of_the_file(written, tmp_path, binary):
    model = read_model(as_binary(written, tmp_path / "binary") if binary else written, 3)
    assert model.number == 3
    assert len(model) == 2
    assert model.names.tolist() == ["a.jpg", "b.jpg"]
    np.testing.assert_allclose(model.centres, [[0, 0, 0], [2, 0, 4]], atol=1e-12)
    np.testing.assert_allclose(model.rotations[1], [[0, 0, -1], [0, 1, 0], [1, 0, 0]], atol=1e-12)
    np.testing.assert_array_equal(model.positions, [[0, 0, 4], [0, 1, 10], [6, 0, 4]])
    # b.jpg sees point 9 twice, and point 5 behind itself: once and not at all.
    np.testing.assert_array_equal(model.point_starts, [0, 2, 3])
    np.testing.assert_array_equal(model.points, [0, 1, 2])
    # Depths 4, 10 and 4; focal lengths 100 and the mean of 200 and 300.
    np.testing.assert_allclose(model.scales, [25, 10, 62.5])
    assert model.points.dtype == np.int64
    assert model.scales.dtype == np.float32


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_every_observation_of_a_random_model_is_found(tmp_path, binary):
    with quiet_pycolmap() as pycolmap:
        expected = synthetic(pycolmap)
        (expected.write_binary if binary else expected.write_text)(tmp_path)
        model = read_model(tmp_path)
        ids = sorted(expected.point3D_ids())
        assert len(model) == 6
        for i, name in enumerate(model.names.tolist()):
            image = expected.find_image_with_name(name)
            np.testing.assert_allclose(model.centres[i], image.projection_center(), atol=1e-9)
            focal_length = image.camera.mean_focal_length()
            seen = {
                ids.index(point.point3D_id): focal_length
                / (image.cam_from_world() * expected.point3D(point.point3D_id).xyz)[2]
                for point in image.points2D
                if point.has_point3D()
            }
            own = slice(model.point_starts[i], model.point_starts[i + 1])
            assert model.points[own].tolist() == sorted(seen)
            np.testing.assert_allclose(model.scales[own], [seen[point] for point in sorted(seen)], rtol=1e-5)
    assert len(model.points) > 100


def test_numbered_folders_are_ordered_by_number_and_others_by_name(tmp_path):
    for name in ("10", "9", "0"):
        write_text(tmp_path / "numbers" / name)
    write_text(tmp_path / "names" / "church")
    write_text(tmp_path / "names" / "1")
    assert [(number, path.name) for number, path in model_folders(tmp_path / "numbers").items()] == [
        (0, "0"),
        (9, "9"),
        (10, "10"),
    ]
    assert [path.name for path in model_folders(tmp_path / "names").values()] == ["1", "church"]
    assert [model.number for model in read_models(tmp_path / "numbers")] == [0, 9, 10]
    assert list(model_folders(tmp_path / "numbers" / "9")) == [0]


def test_a_folder_without_models_is_named(tmp_path):
    with pytest.raises(ValueError, match=rf"`models` must be the folder.*Received: models={re.escape(str(tmp_path))}"):
        model_folders(tmp_path)


def test_a_damaged_model_is_named(tmp_path):
    write_text(tmp_path / "0", images="1 1 0 0 0 0 0 0 99 a.jpg\n\n")
    with pytest.raises(ValueError, match="`models` must be COLMAP models that pycolmap"):
        read_model(tmp_path / "0")


def test_without_pycolmap_the_error_tells_how_to_get_it(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(ImportError, match=r'pip install "keras-sare\[sfm\]"'):
        read_model(written)


def test_messages_of_pycolmap_are_held_back_only_meanwhile():
    with quiet_pycolmap() as pycolmap:
        assert pycolmap.logging.minloglevel == 3
    assert pycolmap.logging.minloglevel == 0
