import keras
import numpy as np

from keras_sare.models import build, freeze_before
from keras_sare.models.backbones.efficientnet_lite0 import efficientnet_lite0


def test_layers_are_those_of_keras_applications_without_squeeze_and_excitation():
    ours = [layer.name for layer in efficientnet_lite0(keras.Input((None, None, 3))).layers[1:]]
    theirs = [layer.name for layer in keras.applications.EfficientNetB0(weights=None, include_top=False).layers]
    others = ("_se_", "_drop", "pad", "input", "rescaling", "normalization")
    assert ours == [name for name in theirs if not any(part in name for part in others)]


def test_batch_normalisation_before_the_trained_part_neither_learns_nor_looks_at_the_batch():
    model = build("efficientnet_lite0_netvlad", weights=None, clusters=2)
    freeze_before(model, "block5a_expand_conv")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype("float32")
    trunk = keras.Model(model.input, model.get_layer("block4c_add").output)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.name.endswith("_bn")}
    expected = trunk(images, training=False)
    model(images, training=True)
    np.testing.assert_array_equal(trunk(images, training=True), expected)
    changed = [
        name
        for name, arrays in before.items()
        if any(np.any(a != b) for a, b in zip(model.get_layer(name).get_weights(), arrays, strict=True))
    ]
    assert changed == [name for name in before if name.startswith("block5")]
