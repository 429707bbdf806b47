import keras
import numpy as np
import pytest

from export.formats import keras_file
from export.formats.keras_file import write_keras
from export.source import Source, sample_image


@pytest.fixture(scope="module")
def source(whitened_model):
    return Source(whitened_model, (24, 32), "small_mac", "test")


def test_file_gives_the_models_descriptors(source, tmp_path):
    write_keras(source, tmp_path / "model.keras")
    image = sample_image((40, 28))
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(image), source.model(image))


def test_name_must_end_in_keras(source, tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end in \.keras\. Received: path='.*model\.h5'"):
        write_keras(source, tmp_path / "model.h5")


def test_file_that_reads_back_otherwise_is_not_written(source, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_file, "largest_difference", lambda *_: 0.1)
    with pytest.raises(RuntimeError, match=r"an entry differs by 0\.1\. Nothing was exported"):
        write_keras(source, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
