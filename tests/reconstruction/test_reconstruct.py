"""Two drawn scenes and a grey photo are really reconstructed, once; what is repeated is counted."""

import json
import runpy
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from keras_sare.datasets.sfm.sfm_files import read_colmap
from keras_sare.reconstruction.database import ColmapDatabase
from keras_sare.reconstruction.reconstruct import ReconstructionSettings, reconstruct

SCENES = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "data" / "photo_scenes.py")))
# The package has a function of that name.
module = sys.modules[reconstruct.__module__]
SETTINGS = ReconstructionSettings(max_features=400)


def draw(folder):
    SCENES.draw_scene(folder / "near", 0, np.linspace(0, 2.4, 4))
    SCENES.draw_scene(folder, 1, np.linspace(0, 1.6, 3))
    Image.new("L", (320, 240), 127).save(folder / "grey.png")


def shared_points(dataset, image, other):
    return len(np.intersect1d(dataset.points_of(image), dataset.points_of(other)))


def verified_pairs(database):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT pair_id, rows, config FROM two_view_geometries ORDER BY pair_id").fetchall()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    draw(folder / "images")
    return folder, reconstruct(folder / "images", folder / "run", SETTINGS)


@pytest.fixture
def calls(monkeypatch):
    """Names of the stages that run, in order; they do run."""
    made = []

    def record(owner, name):
        original = getattr(owner, name)

        def recorded(*arguments):
            made.append(name)
            return original(*arguments)

        monkeypatch.setattr(owner, name, recorded)

    record(ColmapDatabase, "extract")
    record(ColmapDatabase, "match_exhaustively")
    record(ColmapDatabase, "match_similar")
    record(module, "map_models")
    return made


def test_each_scene_becomes_a_model_and_what_is_in_none_is_told(made):
    folder, result = made
    assert [row["images"] for row in result.models] == [4, 3]
    assert result.images == ["1_0.png", "1_1.png", "1_2.png", "grey.png", *(f"near/0_{i}.png" for i in range(4))]
    assert result.unregistered == ["grey.png"]
    assert result.corrupt == {}
    for row in result.models:
        assert row["points"] > 50
        assert 2 < row["mean_track_length"] <= row["images"]
        assert row["reprojection_error"] < 0.5


def test_cameras_are_found_where_they_stood(made):
    folder, result = made
    dataset = read_colmap(result.folder, folder / "images", result.database)
    assert dataset.models.tolist() == dataset.clusters.tolist() == [0] * 4 + [1] * 3
    assert [Path(path).name for path in dataset.paths.tolist()] == [f"0_{i}.png" for i in range(4)] + [
        f"1_{i}.png" for i in range(3)
    ]
    for model in (0, 1):
        centres = dataset.centres[dataset.models == model]
        # They moved along a line; how far is known up to a factor, and evenly only if the depths are, too.
        along = centres - centres[0]
        direction = along[-1] / np.linalg.norm(along[-1])
        np.testing.assert_allclose(along - np.outer(along @ direction, direction), 0, atol=0.02 * np.abs(along).max())
        assert (np.diff(along @ direction) > 0).all()
    assert shared_points(dataset, 0, 1) > 30
    assert shared_points(dataset, 0, 5) == 0


def test_called_again_it_returns_what_is_there(made, calls):
    folder, result = made
    assert reconstruct(folder / "images", folder / "run", SETTINGS) == result
    assert calls == []


def test_the_same_photos_and_seed_give_the_same_models(made, tmp_path):
    folder, result = made
    again = reconstruct(folder / "images", tmp_path / "again", SETTINGS)
    assert again.models == result.models
    first = read_colmap(result.folder, folder / "images", result.database)
    second = read_colmap(again.folder, folder / "images", again.database)
    np.testing.assert_array_equal(first.points, second.points)
    np.testing.assert_array_equal(first.centres, second.centres)


def test_a_killed_run_goes_on_after_the_stage_that_was_finished_and_added_photos_alone_are_computed(
    tmp_path, calls, monkeypatch
):
    SCENES.draw_scene(tmp_path / "images", 0, np.linspace(0, 2.4, 4))
    later = tmp_path / "images" / "0_3.png"
    later.rename(tmp_path / "0_3.png")
    original = ColmapDatabase.match_exhaustively

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ColmapDatabase, "match_exhaustively", killed)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    assert calls == ["extract"]
    monkeypatch.setattr(ColmapDatabase, "match_exhaustively", original)
    mapping = module.map_models
    monkeypatch.setattr(module, "map_models", killed)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    assert calls == ["extract", "match_exhaustively"]
    assert not (tmp_path / "run" / "models").exists()
    monkeypatch.setattr(module, "map_models", mapping)
    result = reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    assert calls == ["extract", "match_exhaustively", "map_models"]
    assert [row["images"] for row in result.models] == [3]
    # Of a photo that is added its features and matches alone are computed.
    (tmp_path / "0_3.png").rename(later)
    extracted = []
    extract = ColmapDatabase.extract
    monkeypatch.setattr(
        ColmapDatabase, "extract", lambda self, names, *rest: extracted.extend(names) or extract(self, names, *rest)
    )
    result = reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    assert extracted == ["0_3.png"]
    assert [row["images"] for row in result.models] == [4]
    assert reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS) == result
    # Another setting of the mapping alone maps again.
    before = len(calls)
    reconstruct(tmp_path / "images", tmp_path / "run", ReconstructionSettings(max_features=400, min_model_size=4))
    assert calls[before:] == ["map_models"]


def test_other_settings_of_features_and_changed_files_are_refused(tmp_path, made):
    folder, _ = made
    with pytest.raises(ValueError, match=r"`folder` holds features computed with other settings.*max_features.*400"):
        reconstruct(folder / "images", folder / "run", ReconstructionSettings(max_features=500))
    SCENES.draw_scene(tmp_path / "images" / "near", 5, [0.0])
    (tmp_path / "images" / "near" / "5_0.png").rename(tmp_path / "images" / "near" / "0_0.png")
    with pytest.raises(ValueError, match=r"`images` must be the files.*first file near/0_0.png"):
        reconstruct(tmp_path / "images", folder / "run", SETTINGS)


def test_unreadable_photos_stop_the_run_only_beyond_a_share_and_may_be_replaced_by_whole_ones(tmp_path, caplog):
    SCENES.draw_scene(tmp_path / "images", 0, np.linspace(0, 2.4, 4))
    photo = tmp_path / "images" / "0_3.png"
    whole = photo.read_bytes()
    photo.write_bytes(b"no picture")
    with pytest.raises(
        ValueError, match=r"1 of the 4 photos in `images` cannot be read.*first file 0_3.png: not a JPEG"
    ):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    result = reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS, max_corrupt_share=0.25)
    assert result.corrupt == {"0_3.png": "not a JPEG, PNG, GIF or WebP image"}
    assert "0_3.png: not a JPEG" in caplog.text
    assert result.images == ["0_0.png", "0_1.png", "0_2.png"]
    photo.write_bytes(whole)
    result = reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    assert [row["images"] for row in result.models] == [4]
    # From now on there are features of it.
    photo.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"`images` must be the files.*first file 0_3.png"):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)


def test_a_photo_changed_after_a_kill_amid_the_features_is_noticed(tmp_path, monkeypatch):
    SCENES.draw_scene(tmp_path / "images", 0, [0.0, 0.8])
    original = ColmapDatabase.extract

    def killed(self, names, *rest):
        original(self, names[:1], *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(ColmapDatabase, "extract", killed)
    with pytest.raises(KeyboardInterrupt):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    Image.new("L", (320, 240)).save(tmp_path / "images" / "0_0.png")
    with pytest.raises(ValueError, match=r"`images` must be the files.*first file 0_0.png"):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)


def test_with_other_settings_of_matching_photos_are_matched_as_now_asked(made, tmp_path, calls):
    folder, exhaustive = made
    similar = ReconstructionSettings(max_features=400, exhaustive_images=3, neighbours=2)
    assert len(all_pairs := set(verified_pairs(exhaustive.database))) == 28
    shutil.copytree(folder / "run", tmp_path / "run")
    calls.clear()
    result = reconstruct(folder / "images", tmp_path / "run", similar)
    assert calls == ["match_similar", "map_models"]
    # Of the eight photos each is matched with two; which two hangs on the vocabulary, which threads add up.
    chosen = set(verified_pairs(result.database))
    assert 8 <= len(chosen) <= 16
    assert chosen < all_pairs
    calls.clear()
    again = reconstruct(folder / "images", tmp_path / "run", SETTINGS)
    assert calls == ["match_exhaustively", "map_models"]
    assert verified_pairs(again.database) == verified_pairs(exhaustive.database)
    assert again.models == exhaustive.models


def test_pictures_of_the_run_itself_and_hidden_files_are_no_photos(tmp_path):
    SCENES.draw_scene(tmp_path, 0, np.linspace(0, 1.6, 3))
    (tmp_path / ".thumbnail.png").write_bytes((tmp_path / "0_0.png").read_bytes())
    for folder in (tmp_path / "run", tmp_path / "runner"):
        folder.mkdir()
    (tmp_path / "run" / "models.png").write_bytes((tmp_path / "0_0.png").read_bytes())
    Image.new("L", (320, 240), 127).save(tmp_path / "runner" / "photo.png")
    result = reconstruct(tmp_path, tmp_path / "run", SETTINGS)
    assert result.images == ["0_0.png", "0_1.png", "0_2.png", "runner/photo.png"]


def test_the_folder_of_the_photos_is_not_the_folder_of_the_run(tmp_path):
    SCENES.draw_scene(tmp_path, 0, [0.0])
    with pytest.raises(ValueError, match=r"`folder` must be another folder than `images`"):
        reconstruct(tmp_path, tmp_path / ".", SETTINGS)


HOLDS = """
import sys
from keras_sare.utils.files import lock
lock(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_which_another_process_runs_is_refused_and_left_as_it_is(tmp_path):
    SCENES.draw_scene(tmp_path / "images", 0, [0.0])
    half = tmp_path / "run" / ".0a1b2c3d.partial.models"
    half.mkdir(parents=True)
    command = [sys.executable, "-c", HOLDS, tmp_path / "run" / "run.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match="Another process runs in .*/run'"):
            reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
        assert half.is_dir()
        other.kill()


def test_many_photos_are_matched_by_a_vocabulary_of_their_own(made, tmp_path, calls):
    folder, _ = made
    shutil.copytree(folder / "run", tmp_path / "run")
    settings = ReconstructionSettings(max_features=400, exhaustive_images=3, neighbours=4)
    result = reconstruct(folder / "images", tmp_path / "run", settings)
    assert calls == ["match_similar", "map_models"]
    assert [row["images"] for row in result.models] == [4, 3]
    assert (tmp_path / "run" / "vocabulary.bin").is_file()


def test_photos_with_nothing_in_common_give_no_model(tmp_path):
    for seed in range(3):
        SCENES.draw_scene(tmp_path / "images", seed, [0.0])
    with pytest.raises(ValueError, match="no model was found. Received: 3 photos"):
        reconstruct(tmp_path / "images", tmp_path / "run", SETTINGS)
    assert not (tmp_path / "run" / "models").exists()


def test_a_folder_without_photos_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(ValueError, match=r"`images` must hold \.jpg, \.jpeg, \.png files"):
        reconstruct(tmp_path, tmp_path / "run")
    (tmp_path / "run").mkdir()
    Image.new("L", (320, 240)).save(tmp_path / "run" / "models.png")
    with pytest.raises(ValueError, match="`images` must hold photos outside `folder`"):
        reconstruct(tmp_path, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "value"), [("max_image_size", 0), ("max_features", 0), ("neighbours", 0), ("min_model_size", 1)]
)
def test_settings_without_meaning_are_refused(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be at least .*{name}={value}"):
        ReconstructionSettings(**{name: value})


def test_the_whole_castle_is_one_model(real_data, tmp_path):
    """Six of the eleven real photos, small: enough for a model."""
    (tmp_path / "images").mkdir()
    for path in sorted((real_data / "sceaux_castle" / "images").iterdir())[:6]:
        (tmp_path / "images" / path.name).symlink_to(path)
    result = reconstruct(tmp_path / "images", tmp_path / "run", ReconstructionSettings(max_image_size=500))
    assert [row["images"] for row in result.models] == [6]
    assert result.unregistered == []
    assert result.models[0]["points"] > 500
    assert result.models[0]["reprojection_error"] < 1
    dataset = read_colmap(result.folder, tmp_path / "images", result.database)
    # Photos taken one after the other, walking around the castle, see more in common than the first and the last.
    assert shared_points(dataset, 0, 1) > shared_points(dataset, 0, 5)


def keypoints(folder):
    with closing(sqlite3.connect(folder / "database.db")) as connection:
        tables = "images JOIN cameras USING (camera_id) JOIN keypoints USING (image_id)"
        rows = connection.execute(f"SELECT name, width, height, data FROM {tables}")  # noqa: S608 - no input
        return {name: others for name, *others in rows}


@pytest.mark.parametrize("orientation", ["upright", "stored"])
def test_features_are_those_of_the_photo_in_its_orientation(tmp_path, orientation):
    SCENES.draw_scene(tmp_path, 1, np.array([0.0]))
    [drawn] = tmp_path.glob("*")
    photo = Image.open(drawn)
    exif = Image.Exif()
    images = tmp_path / "images"
    exif[274] = 6
    (images / "phone").mkdir(parents=True)
    photo.save(images / "a.png")
    photo.transpose(Image.Transpose.ROTATE_90).save(images / "phone" / "b.png", exif=exif)
    with pytest.raises(ValueError, match="no model was found"):
        reconstruct(images, tmp_path / "run", replace(SETTINGS, orientation=orientation))
    found = keypoints(tmp_path / "run")
    assert (found["phone/b.png"] == found["a.png"]) == (orientation == "upright")
    assert not list((tmp_path / "run").glob(".*partial*"))


def test_features_of_pixels_as_stored_are_not_mixed_with_upright_ones(made, tmp_path):
    folder, _ = made
    shutil.copytree(folder / "run", tmp_path / "run")
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    del state["settings"]["orientation"]  # As an earlier version wrote it.
    (tmp_path / "run" / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match=r"computed with other settings, \{'orientation': 'stored'\}"):
        reconstruct(folder / "images", tmp_path / "run", SETTINGS)
