import collections
import dataclasses
import functools
import importlib
import logging
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.extraction import ImageInputs, StoredInputs
from keras_sare.extraction.extractor import Extractor
from keras_sare.losses import SARELoss
from keras_sare.models import split
from keras_sare.training import FeatureStore, RecallValidation, Trainer, open_places

module = importlib.import_module("keras_sare.training.feature_store.open_feature_store")
IMAGE_BYTES = 10 * 14 * 8 * 2
"""Of what `make_model`'s first convolution makes of 12 x 16 pixels, in float16."""
FILE = 4 * IMAGE_BYTES + 128


@pytest.fixture
def datasets(make_places):
    """24, 16 and 12 images: 6, 4 and 3 files."""
    return {name: make_places(name, count, seed).dataset for seed, (name, count) in enumerate(SPLITS.items())}


SPLITS = {"test": 6, "val": 8, "train": 12}


@pytest.fixture
def open_with(datasets, make_model, settings, tmp_path, monkeypatch):
    """Opens with four images in a file, and returns the places and the head."""
    monkeypatch.setattr(module, "FeatureStore", functools.partial(FeatureStore, file_bytes=4 * IMAGE_BYTES))

    def open_with(limit=1e6, cut="conv2", strategy=None, initialise=False, **options):
        trunk, head = split(make_model(strategy, initialise), cut)
        options |= {"strategy": strategy}
        places = open_places(datasets, trunk, (12, 16), settings, tmp_path / "store", limit, **options)
        return places, trunk, head

    return open_with


@pytest.fixture
def computed(monkeypatch):
    """How many images the frozen layers are computed for, by name of the split."""
    count = collections.Counter()
    compute = FeatureStore.compute

    def counted(store, ids, *rest):
        count[store.images.paths[0].split("/")[-1].split("_")[0]] += len(ids)
        return compute(store, ids, *rest)

    monkeypatch.setattr(FeatureStore, "compute", counted)
    return count


def present(places):
    return {name: one.inputs.array.files.present.sum() for name, one in places.items()}


def describe(places, head):
    extractor = Extractor(head, tf.distribute.get_strategy())
    return np.concatenate(places.extract_all(extractor))


def test_all_splits_are_stored_where_they_fit_and_only_what_is_missing_is_computed_again(open_with, computed, tmp_path):
    places, _, _ = open_with()
    assert computed == {"train": 24, "val": 16, "test": 12}
    assert all(one.stored and isinstance(one.inputs, StoredInputs) for one in places.values())
    assert len(list((tmp_path / "store").glob("trunk-*/maps-*.npy"))) == 6 + 4 + 3
    computed.clear()
    assert present(open_with()[0]) == {"train": 6, "val": 4, "test": 3}
    assert not computed
    # As after a kill, which loses files that were not yet complete.
    for path in (places["train"].inputs.array.files.path(2), places["val"].inputs.array.files.path(0)):
        path.unlink()
    open_with()
    assert computed == {"train": 4, "val": 4}


@pytest.mark.parametrize(("limit", "cut"), [(0, "conv2"), (FILE - 1, "conv2"), (1e6, "conv1")])
def test_inputs_are_pixels_without_budget_or_where_nothing_fits_or_where_nothing_is_saved(
    open_with, tmp_path, limit, cut
):
    places, _, _ = open_with(limit, cut)
    assert not any(one.stored for one in places.values())
    assert all(isinstance(one.inputs, ImageInputs) for one in places.values())
    assert not (tmp_path / "store").exists()


def test_training_comes_first_where_not_everything_fits(open_with, computed):
    places, _, _ = open_with(8 * FILE)
    assert present(places) == {"train": 6, "val": 2, "test": 0}
    assert all(one.stored for one in places.values())
    assert computed == {"train": 24, "val": 8}


def test_budget_counts_what_is_there_and_a_larger_one_goes_on_to_the_same_descriptors(open_with, computed, caplog):
    caplog.set_level(logging.INFO, "keras_sare.training.feature_store.open_feature_store")
    part, _, head = open_with(5 * FILE)
    assert "for 52 images" in caplog.text
    assert "There already: 0.00 GB, 0 images. To be computed: 0.00 GB, 20 images" in caplog.text
    descriptors = describe(part["train"], head)
    computed.clear()
    assert present(open_with(7 * FILE)[0]) == {"train": 6, "val": 1, "test": 0}
    assert computed == {"train": 4, "val": 4}
    computed.clear()
    assert present(open_with(FILE)[0]) == {"train": 6, "val": 1, "test": 0}
    assert not computed
    caplog.clear()
    full, _, head = open_with()
    assert "There already: 0.00 GB, 28 images. To be computed: 0.00 GB, 24 images" in caplog.text
    np.testing.assert_array_equal(describe(full["train"], head), descriptors)


def test_descriptors_are_those_of_the_whole_model_within_the_precision_of_the_dtype(open_with, make_model):
    expected = describe(open_with(0)[0]["test"], make_model(initialise=False))
    for dtype, bound in {"float16": 2**-11, "bfloat16": 2**-8, "float32": 1e-7}.items():
        stored, _, head = open_with(dtype=dtype)
        np.testing.assert_allclose(describe(stored["test"], head), expected, atol=bound)


def test_disk_that_is_too_small_is_told_before_anything_is_computed(open_with, computed, monkeypatch, caplog):
    usage = shutil.disk_usage("/")._replace(free=int(module.KEPT_FREE) + 3 * FILE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    seen = []
    fill = FeatureStore.fill
    monkeypatch.setattr(FeatureStore, "fill", lambda *arguments: seen.append(caplog.text) or fill(*arguments))
    places, _, _ = open_with()
    assert "40 of 52 images does not fit what is allowed, 0.00 GB, or the disk, 2.00 GB free of which 2.0 GB" in seen[0]
    assert present(places) == {"train": 3, "val": 0, "test": 0}
    assert computed == {"train": 12}


def test_store_leaves_what_the_caller_needs(open_with, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=int(7e9) + 2 * FILE)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert present(open_with(kept_free=7e9)[0]) == {"train": 2, "val": 0, "test": 0}


class Team:
    """Two workers: while the first one waits for the second, that one works."""

    def __init__(self):
        self.count = 2
        self.index = 0
        self.seen = None
        self.second = lambda: None

    def __call__(self, _):
        return self

    def shard(self, n):
        return np.array_split(np.arange(n), 2)[self.index]

    def all_gather(self, rows, _):
        self.seen = rows if self.index == 0 else self.seen
        return np.concatenate([self.seen, rows])

    def barrier(self):
        if self.index == 0:
            self.index = 1
            self.second()


@pytest.fixture
def team(monkeypatch):
    team = Team()
    monkeypatch.setattr(module, "Workers", team)
    return team


def test_workers_share_the_files_and_wait_for_each_other(open_with, computed, team):
    opened = []
    alone = []

    def second():
        alone.append(dict(computed))
        opened.append(open_with()[0])

    team.second = second
    opened.append(open_with()[0])
    assert [present(places) for places in opened] == [{"train": 6, "val": 4, "test": 3}] * 2
    assert alone == [{"train": 24, "val": 4}]
    assert computed == {"train": 24, "val": 16, "test": 12}


def test_folder_that_the_workers_do_not_share_is_refused(open_with, team):
    with pytest.raises(
        FileNotFoundError,
        match="`folder` must be one that all workers share.*same paths, sizes and times.*Received: folder=.*store",
    ):
        open_with()


@pytest.fixture
def losses(open_with, settings, tmp_path, without_picture):
    """Losses of the epochs of a short training."""

    def losses(limit, dtype="float32", strategy=None, **changed):
        strategy = strategy or tf.distribute.get_strategy()
        places, trunk, head = open_with(limit, strategy=strategy, initialise=True, dtype=dtype)
        settings_ = dataclasses.replace(settings, epochs=2, refresh_every=6, learning_rate=1e-3, **changed)
        places = {name: dataclasses.replace(one, settings=settings_) for name, one in places.items()}
        folder = tmp_path / f"{dtype}-{limit}-{strategy.num_replicas_in_sync}"
        validation = RecallValidation(places["val"])
        state = Trainer(head, SARELoss(), places["train"], validation, folder, strategy, trunk).fit()
        return [row["loss"] for row in state.history[1:]]

    return losses


def test_float32_store_gives_the_same_loss_curve_as_none_and_in_part_on_two_replicas_too(losses, mirrored):
    without = losses(0)
    assert len(without) == 2
    assert losses(1e6) == without
    np.testing.assert_allclose(losses(7 * FILE, strategy=mirrored), without, rtol=1e-5)


def test_float16_store_gives_the_same_loss_curve_within_one_rounding(losses):
    # All eleven negatives of a query are in its tuple: choosing among near ones may turn on the last digit.
    without = losses(0, negatives=11, negative_pool=11)
    stored = losses(1e6, "float16", negatives=11, negative_pool=11)
    assert stored != without
    np.testing.assert_allclose(stored, without, rtol=2**-11)
