import keras
import pytest

from keras_sare.models import build
from keras_sare.models.weight_files import write_npz
from keras_sare.testing.town import render_town


@pytest.fixture(scope="session")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town") / "town"
    render_town(folder, seed=1, image_size=(32, 48), train_places=10, val_places=5, test_places=5)
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Random VGG16 weights: what is tested here does not depend on them.

    Without a mean over the input channels: else every layer's ReLU makes all images a little more alike, and after
    thirteen of them there is nothing left to whiten.
    """
    keras.utils.set_random_seed(5)
    path = tmp_path_factory.mktemp("weights") / "vgg16.npz"
    layers = [layer for layer in build("vgg16_mac", weights=None).layers if "conv" in layer.name]
    pairs = [layer.get_weights() for layer in layers]
    write_npz(path, [(kernel - kernel.mean(axis=2, keepdims=True), bias) for kernel, bias in pairs])
    return path
