"""Settings and fixtures that every test shares."""

import gc
import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import functools
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

# Two logical devices on one processor stand for two GPUs. They must exist before TensorFlow's first operation.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

# TensorFlow is a million objects that stay. To look through them for cycles again and again took a fifteenth of the
# tests' time.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("fewest_tests", "how many tests the whole suite runs at least, without KERAS_SARE_DATA", default="0")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CountedTests(), "counted tests")
    end_children_with_this_process(config)
    # Programs remember which photos could be read: not those of tests, nor for the user who runs them.
    cache = tempfile.TemporaryDirectory(prefix="keras_sare_tests_")
    config.add_cleanup(cache.cleanup)
    os.environ["KERAS_SARE_CACHE"] = cache.name


def end_children_with_this_process(config: pytest.Config) -> None:
    """However this process ends, by SIGKILL too, no process that a test has started outlives it."""
    name = f"KERAS_SARE_TESTS_{os.getpid()}"
    command = [sys.executable, "-I", "-S", Path(__file__).with_name("end_children.py"), name]
    # A session of its own: what a terminal sends to all processes of the run must not end it first.
    ender = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    config.add_cleanup(ender.communicate)
    os.environ[name] = "1"


class CountedTests:
    """Fails a run of the whole suite in which fewer tests ran than pyproject.toml says: else lost ones go unseen.

    With xdist, the process that hands out the tests is told of all of them; a worker knows of its own only.
    """

    count = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.count += report.when == "call" and not report.skipped

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        fewest = int(session.config.getini("fewest_tests"))
        if session.exitstatus == pytest.ExitCode.OK and is_whole(session.config) and self.count < fewest:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            reporter = session.config.pluginmanager.get_plugin("terminalreporter")
            reporter.write_line(
                f"\n{self.count} tests ran, where pyproject.toml asks for {fewest}: find what was lost, or lower "
                "`fewest_tests` if fewer are meant",
                red=True,
            )


def is_whole(config: pytest.Config) -> bool:
    """Whether all tests run that do by default: no path, mark or word is chosen, and this is no worker of xdist."""
    options = config.option
    chosen = options.keyword or options.deselect or options.collectonly or getattr(options, "lf", False)
    by_default = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    is_worker = hasattr(config, "workerinput")
    return by_default and not chosen and options.markexpr in config.getini("addopts") and not is_worker


@pytest.fixture(autouse=True, scope="module")
def fixed_seed_of_a_module() -> None:
    """TensorFlow's seed too. Setting it makes TensorFlow prepare every function anew, which takes up to a second each:
    so that is done once for a module, and its tests draw nothing from `tf.random` that takes no seed of its own."""
    keras.utils.set_random_seed(1)


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """What weights are initialised with, and what NumPy draws."""
    random.seed(1)
    np.random.seed(1)


@pytest.fixture(autouse=True)
def level_of_a_library() -> None:
    """Programs that earlier tests ran have asked for messages, as the library does not by itself."""
    logging.getLogger("keras_sare").setLevel(logging.NOTSET)


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


@pytest.fixture(scope="session")
def small_mac_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Gives a file with a model of one layer and MAC, for images of 8 pixels and more. Not to be written to."""
    from keras_sare.layers import MAC

    @functools.cache
    def save(dim: int) -> Path:
        keras.utils.set_random_seed(3)
        images = keras.Input((None, None, 3))
        scaled = keras.layers.Rescaling(1 / 64, -2)(images)
        features = keras.layers.Conv2D(dim, 8, strides=8, activation="relu")(scaled)
        path = tmp_path_factory.mktemp("model") / "small.keras"
        keras.Model(images, MAC()(features), name="small_mac").save(path)
        return path

    return save
