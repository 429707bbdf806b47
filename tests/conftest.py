"""Settings and fixtures that every test shares."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

from pathlib import Path

import keras
import pytest
import tensorflow as tf

# Two logical devices on one processor stand for two GPUs. They must exist before TensorFlow's first operation.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def mirrored() -> tf.distribute.MirroredStrategy:
    """Two replicas on one processor. Tests that train share it: each further strategy of a process numbers its
    collectives from the start, and TensorFlow refuses two of one number whose shapes differ."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real photographs, positions and weights; tests that need it are skipped where it is not set."""
    folder = os.environ.get("KERAS_SARE_DATA")
    if not folder:
        pytest.skip("KERAS_SARE_DATA is not set: it names the folder with ie_tower, kitay_gorod, positions and weights")
    return Path(folder)
