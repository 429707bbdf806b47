import importlib.util
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def draw():
    """Draws correlated samples away from the origin, like descriptors: float32 `[rows, features]`."""

    def draw_samples(rows, features, seed=0):
        rng = np.random.default_rng(seed)
        scales = np.geomspace(1, 0.05, features)
        rotation = np.linalg.qr(rng.standard_normal((features, features)))[0]
        samples = rng.standard_normal((rows, features)) * scales @ rotation + rng.standard_normal(features)
        return samples.astype(np.float32)

    return draw_samples


@pytest.fixture(scope="session")
def oracle():
    """What the original code fitted, and `descriptors` and `pairs`, which draw what it was fitted on."""
    spec = importlib.util.spec_from_file_location("make_whitening_oracle", DATA / "make_whitening_oracle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.fitted = dict(np.load(DATA / "whitening_oracle.npz"))
    return module


@pytest.fixture
def assert_equal_up_to_sign():
    """Compares columns relative to the largest element of each."""

    def compare(ours, theirs, tolerance):
        scale = np.abs(theirs).max(axis=0)
        difference = np.minimum(np.abs(ours - theirs).max(axis=0), np.abs(ours + theirs).max(axis=0)) / scale
        assert difference.max() < tolerance, difference

    return compare
