import logging
import os
import shutil
from dataclasses import replace

import pytest

from keras_sare.datasets import open_splits
from keras_sare.datasets.images import unreadable_files
from trainers.config import PittsConfig
from trainers.stages.places.checks import check_datasets


@pytest.fixture
def config(town):
    return PittsConfig().changed({"root": str(town), "output": "run", "negatives": 2, "dim": 8})


@pytest.fixture
def decoded(monkeypatch):
    """Files that are decoded; none is where this is used."""
    files = []
    monkeypatch.setattr(unreadable_files, "find_corrupt", lambda paths: files.extend(paths.tolist()) or {})
    return files


def moved(dataset, by, queries=slice(None)):
    """With some queries elsewhere."""
    positions = dataset.queries.positions.copy()
    positions[queries] += by
    return replace(dataset, queries=replace(dataset.queries, positions=positions))


def without_files(dataset, count):
    paths = dataset.database.paths.copy()
    paths[:count] = [f"{path}.gone" for path in paths[:count]]
    return replace(dataset, database=replace(dataset.database, paths=paths))


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_every_split_must_have_positives_before_an_image_is_decoded(config, town, decoded, name):
    splits = open_splits(town)
    check_datasets(config, splits, 1)
    decoded.clear()
    radius = 10 if name == "train" else 25
    with pytest.raises(ValueError, match=f"town_{name}: .* queries have no positive within {radius} m and .* away"):
        check_datasets(config, {**splits, name: moved(splits[name], by=1e6)}, 1)
    assert decoded == []


def test_all_errors_are_told_at_once_and_no_image_is_decoded(config, town, decoded, caplog):
    splits = open_splits(town)
    splits |= {"train": without_files(splits["train"], 3), "test": moved(splits["test"], 1e6)}
    with caplog.at_level(logging.ERROR, "keras_sare"), pytest.raises(ValueError, match=r"the 2 above .*missing, far"):
        check_datasets(config, splits, 1)
    missing, far = (record.getMessage() for record in caplog.records)
    assert missing.startswith("town_train, database: 3 of ")
    assert far.startswith("town_test: ")
    assert decoded == []


def test_queries_that_cannot_be_found_are_warned_of_once(config, town, decoded, caplog):
    splits = open_splits(town)
    with caplog.at_level(logging.WARNING, "keras_sare"):
        check_datasets(config, {**splits, "test": moved(splits["test"], 1e6, queries=slice(2))}, 1)
    [record] = caplog.records
    assert (
        f"2 of {len(splits['test'].queries)} queries have no positive within 25 m and count as misses: " in caplog.text
    )
    assert record.getMessage().startswith("town_test: ")


def test_queries_that_are_not_trained_on_are_none_where_database_images_are_queries(config, town, decoded, caplog):
    splits = open_splits(town)
    lonely = {**splits, "train": moved(splits["train"], by=1e6)}
    with pytest.raises(ValueError, match="are not trained on"):
        check_datasets(config, lonely, 1)
    check_datasets(config.changed({"database_queries": True}), lonely, 1)
    assert "not trained on" not in caplog.text


def test_few_missing_files_are_left_out_and_named_once(config, town, decoded, caplog):
    splits = open_splits(town)
    splits["val"] = without_files(splits["val"], 1)
    with caplog.at_level(logging.WARNING, "keras_sare"):
        _, kept = check_datasets(config.changed({"max_corrupt_share": 0.5}), splits, 1)
    assert len(kept["val"].paths) == len(splits["val"].paths) - 1
    assert caplog.text.count(".gone") == 1


def test_photos_are_decoded_again_only_when_they_change(config, town, tmp_path, decoded):
    root = tmp_path / "town"
    shutil.copytree(town, root)
    config = config.changed({"root": str(root)})
    splits = open_splits(root)
    check_datasets(config, splits, 1)
    assert sorted(decoded) == sorted({path for data in splits.values() for path in data.paths.tolist()})
    decoded.clear()
    os.utime(splits["val"].paths[0], (1, 1))
    check_datasets(config, splits, 1)
    assert decoded == [splits["val"].paths[0]]


def test_what_cannot_be_read_is_looked_at_again(town, tmp_path, monkeypatch):
    paths = open_splits(town)["val"].paths
    monkeypatch.setattr(unreadable_files, "find_corrupt", lambda paths: {0: "permission denied"})
    assert unreadable_files.unreadable_files(paths, tmp_path) == {int(paths.argsort()[0]): "permission denied"}
    monkeypatch.undo()
    assert unreadable_files.unreadable_files(paths, tmp_path) == {}


def test_photos_are_decoded_again_under_another_limit_of_pixels(town, tmp_path, monkeypatch):
    paths = open_splits(town)["val"].paths
    assert unreadable_files.unreadable_files(paths, tmp_path) == {}
    monkeypatch.setattr(unreadable_files, "pixel_limit", lambda: 1000)
    monkeypatch.setattr(unreadable_files, "find_corrupt", lambda paths: dict.fromkeys(range(len(paths)), "too large"))
    assert len(unreadable_files.unreadable_files(paths, tmp_path)) == len(paths)
