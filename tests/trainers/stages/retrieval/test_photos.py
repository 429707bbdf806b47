import json
import shutil

import keras
import pytest

from keras_sare.training import RunFolder
from trainers.config import RetrievalConfig
from trainers.stages.retrieval.photos import load_models, open_photos, pairs_of, readable_photos

CHOSEN = {"val_share": 0.25}


def test_reconstructed_photos_are_split_by_whole_clusters_the_same_way_every_time(retrieval_photos):
    chosen = RetrievalConfig(**CHOSEN, dataset=str(retrieval_photos / "sfm.npz"))
    splits = open_photos(chosen)
    again = open_photos(chosen)
    assert [len(photos) for photos in splits.values()] == [24, 8]
    assert list(splits) == ["train", "val"]
    assert not set(splits["train"].clusters.tolist()) & set(splits["val"].clusters.tolist())
    assert splits["val"].paths.tolist() == again["val"].paths.tolist()


def test_clusters_of_named_photos_are_left_out(retrieval_photos, tmp_path):
    (tmp_path / "names.txt").write_text("building_3_1.png\nbuilding_5_0.png\n")
    splits = open_photos(
        RetrievalConfig(**CHOSEN, dataset=str(retrieval_photos / "sfm.npz"), leave_out=str(tmp_path / "names.txt"))
    )
    paths = [path for photos in splits.values() for path in photos.paths.tolist()]
    assert len(paths) == 24
    assert not [path for path in paths if "building_3" in path or "building_5" in path]


def test_names_to_leave_out_may_have_blanks_and_no_suffix(retrieval_photos, tmp_path):
    names = str(tmp_path / "names.txt")
    chosen = RetrievalConfig(**CHOSEN, dataset=str(retrieval_photos / "sfm.npz"), leave_out=names)
    (tmp_path / "names.txt").write_text("photo of a building_3_1.png\n\n  my photos/building_5_0\n")
    assert sum(map(len, open_photos(chosen).values())) == 28
    (tmp_path / "names.txt").write_text("photo of a building_3_1.png\n")
    with pytest.raises(ValueError, match="none of its 32 photos has one of the names.*such as photo of a building_3_1"):
        open_photos(chosen)


def test_published_lists_have_splits_and_pairs_of_their_own(published):
    splits = open_photos(RetrievalConfig(**CHOSEN, dataset=str(published), images=str(published.parent / "ims")))

    assert splits["val"].pairs.tolist() == [[1, 0], [3, 2]]
    pairs = pairs_of(splits["train"])
    assert pairs.paths.tolist() == splits["train"].paths.tolist()
    assert (pairs.queries.tolist(), pairs.positives.tolist()) == ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "`images` must be the folder of the photos.*add --images=FOLDER"),
        ({"images": "ims", "leave_out": "names.txt"}, "`leave_out` goes with sfm.npz only"),
    ],
)
def test_published_lists_need_a_folder_and_leave_nothing_out(given, message, published):
    with pytest.raises(ValueError, match=message):
        open_photos(RetrievalConfig(**CHOSEN, dataset=str(published), **given))


def test_photos_that_cannot_be_read_are_left_out_or_stop_the_run(retrieval_photos, tmp_path):
    shutil.copytree(retrieval_photos, tmp_path / "photos")
    (tmp_path / "photos" / "building_2_3.png").write_bytes(b"no picture")
    splits = open_photos(RetrievalConfig(**CHOSEN, dataset=str(tmp_path / "photos" / "sfm.npz")))
    with pytest.raises(ValueError, match="max_corrupt_share"):
        readable_photos(splits, 0.01)
    assert sum(len(photos) for photos in readable_photos(splits, 0.2).values()) == 31


@pytest.mark.parametrize(("best", "name"), [(0, "untrained (epoch 0)"), (2, "fine-tuned")])
def test_model_that_kept_epoch_0_is_not_called_fine_tuned(tmp_path, best, name):
    run = RunFolder(tmp_path)
    model = keras.Sequential([keras.Input((2,)), keras.layers.UnitNormalization()])
    for path in (run.off_the_shelf, run.unwhitened):
        run.save_model(model, path)
    state = tmp_path / "checkpoints" / "epoch-0002" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"state": {"epoch": 2, "best_epoch": best}}))
    assert list(load_models(run)) == ["off the shelf", name]
