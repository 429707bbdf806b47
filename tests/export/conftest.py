"""A small model and the folder of a run that ended in it."""

import keras
import numpy as np
import pytest

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.report_files import write_reports
from keras_sare.layers import MAC, ImagePreprocessing
from keras_sare.models import with_whitening
from keras_sare.training import RunFolder


@pytest.fixture(scope="session")
def whitened_model():
    """Images of any size to 8 dimensions, whitened with a mean."""
    keras.utils.set_random_seed(1)
    images = keras.Input((None, None, 3), name="images")
    prepared = ImagePreprocessing([103.9, 116.8, 123.7], [1.0, 1.0, 1.0], bgr=True, name="preprocessing")(images)
    features = keras.layers.Conv2D(16, 3, activation="relu", name="conv")(prepared)
    unwhitened = keras.Model(images, MAC(name="mac")(features), name="small_mac")
    rng = np.random.default_rng(0)
    projection = rng.normal(size=(16, 12))
    mean = rng.uniform(0, 0.3, 16)
    return with_whitening(unwhitened, projection, -mean @ projection, 8, mean)


@pytest.fixture(scope="session")
def finished_run(whitened_model, tmp_path_factory):
    """Folder of a run of `trainers.pitts` at 24 x 32 pixels, with its recall."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "small")
    run.write_settings({"model": "small_mac", "image_size": ["24", "32"], "root": "/nowhere/photos", "prefix": ""})
    run.save_model(whitened_model, run.model)
    report = RecallReport("recall@N within 25 m", "town_test", 20, 1, 30, (1, 5, 10), (0.5, 0.75, 0.9))
    write_reports(run.path, {"trained, whitened to 8-D": report})
    return run.path
