import pickle
import shutil

import pytest

from trainers.retrieval_stages import open_photos, pairs_of

CHOSEN = {"images": None, "leave_out": None, "val_share": 0.25, "seed": 0, "max_corrupt_share": 0.01}


def test_reconstructed_photos_are_split_by_whole_clusters_the_same_way_every_time(retrieval_photos):
    chosen = {**CHOSEN, "dataset": str(retrieval_photos / "sfm.npz")}
    splits, again = open_photos(chosen), open_photos(chosen)
    assert [len(photos) for photos in splits.values()] == [24, 8]
    assert list(splits) == ["train", "val"]
    assert not set(splits["train"].clusters.tolist()) & set(splits["val"].clusters.tolist())
    assert splits["val"].paths.tolist() == again["val"].paths.tolist()


def test_clusters_of_named_photos_are_left_out(retrieval_photos, tmp_path):
    (tmp_path / "names.txt").write_text("building_3_1.png\nbuilding_5_0.png\n")
    splits = open_photos(
        {**CHOSEN, "dataset": str(retrieval_photos / "sfm.npz"), "leave_out": str(tmp_path / "names.txt")}
    )
    paths = [path for photos in splits.values() for path in photos.paths.tolist()]
    assert len(paths) == 24
    assert not [path for path in paths if "building_3" in path or "building_5" in path]


def test_published_lists_have_splits_and_pairs_of_their_own(retrieval_photos, tmp_path):
    cids = [f"{building}{view:015x}" for building in range(4) for view in range(2)]
    for i, cid in enumerate(cids):
        file = tmp_path / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(retrieval_photos / f"building_{i // 2}_{i % 2}.png", file)
    split = {"cids": cids, "cluster": [0, 0, 1, 1, 2, 2, 3, 3], "qidxs": [0, 2], "pidxs": [1, 3], "bbxs": None}
    published = tmp_path / "published.pkl"
    published.write_bytes(pickle.dumps({"train": split, "val": {**split, "qidxs": [4], "pidxs": [5]}}, 2))

    splits = open_photos({**CHOSEN, "dataset": str(published), "images": str(tmp_path / "ims")})

    assert splits["val"].pairs.tolist() == [[4, 5]]
    pairs = pairs_of(splits["train"])
    assert pairs.paths.tolist() == splits["train"].paths.tolist()
    assert (pairs.queries.tolist(), pairs.positives.tolist()) == ([0, 2], [1, 3])


def test_photos_that_cannot_be_read_are_left_out_or_stop_the_run(retrieval_photos, tmp_path):
    shutil.copytree(retrieval_photos, tmp_path / "photos")
    (tmp_path / "photos" / "building_2_3.png").write_bytes(b"no picture")
    chosen = {**CHOSEN, "dataset": str(tmp_path / "photos" / "sfm.npz")}
    with pytest.raises(ValueError, match="max_corrupt_share"):
        open_photos(chosen)
    splits = open_photos({**chosen, "max_corrupt_share": 0.2})
    assert sum(len(photos) for photos in splits.values()) == 31
