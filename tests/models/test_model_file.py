import keras
import numpy as np
import pytest

from keras_sare.layers import MAC, Whitening
from keras_sare.models.model_file import open_model_file


@keras.saving.register_keras_serializable("tests")
class Doubling(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.pooling = MAC()

    def call(self, inputs):
        return self.pooling(inputs)


@pytest.fixture
def unknown(monkeypatch):
    """Forgets the classes of this file, as in another process."""
    for name in ("tests>Doubling", "tests>Subclassed"):
        monkeypatch.delitem(keras.saving.get_custom_objects(), name)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (2, 24, 32, 3)).astype("float32")


def saved(folder, model):
    path = folder / "model.keras"
    model.save(path)
    return path


@pytest.fixture
def whitened_model():
    model = functional(keras.layers.Conv2D(4, 3), MAC(), Whitening(2, name="whitening"))
    model.layers[-1].set_projection(np.eye(4)[:, :2], np.zeros(2))
    return model


def functional(*layers):
    images = keras.Input((None, None, 3))
    output = images
    for layer in layers:
        output = layer(output)
    return keras.Model(images, output, name="own")


def sequential(*first):
    layers = keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3), MAC()
    return keras.Sequential([*first, *layers], name="own")


def test_functional_model_is_as_it_was(whitened_model, images, tmp_path):
    opened = open_model_file(saved(tmp_path, whitened_model))
    assert [layer.name for layer in opened.layers] == [layer.name for layer in whitened_model.layers]
    np.testing.assert_array_equal(opened(images), whitened_model(images))


@pytest.mark.parametrize("batch", [None, 5])
def test_sequential_model_becomes_a_functional_one_of_its_layers(images, tmp_path, batch):
    model = sequential(keras.Input((None, None, 3), batch))
    opened = open_model_file(saved(tmp_path, model))
    assert not isinstance(opened, keras.Sequential)
    assert (opened.name, opened.output.shape[-1], isinstance(opened.layers[-1], MAC)) == ("own", 4, True)
    np.testing.assert_array_equal(opened(images), model(images))


def test_sequential_model_that_was_called_without_an_input_keeps_the_size_of_its_images(images, tmp_path):
    model = sequential()
    expected = model(images)
    opened = open_model_file(saved(tmp_path, model))
    assert opened.input.shape[1:] == (24, 32, 3)
    np.testing.assert_array_equal(opened(images), expected)


def test_input_and_output_in_lists_become_tensors(images, tmp_path):
    model = functional(keras.layers.Conv2D(4, 3), MAC())
    opened = open_model_file(saved(tmp_path, keras.Model([model.input], [model.output])))
    np.testing.assert_array_equal(opened(images), model(images))


def test_several_outputs_are_refused(tmp_path):
    model = functional(keras.layers.Conv2D(4, 3), MAC())
    path = saved(tmp_path, keras.Model(model.input, [model.output, model.layers[1].output], name="two"))
    with pytest.raises(ValueError, match="must hold a model of one input, .*Received: 'two', inputs=1, outputs=2"):
        open_model_file(path)


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
def test_sequential_model_without_weights_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"must hold a model with weights.*Put keras.Input\(\(None, None, 3\)\) first.*: 'own'"
    ):
        open_model_file(saved(tmp_path, sequential()))


def test_layer_of_the_users_own_is_named(unknown, tmp_path):
    path = saved(tmp_path, functional(keras.layers.Conv2D(4, 3), Doubling(), MAC()))
    with pytest.raises(
        ValueError, match="of layers that Keras and keras_sare have.*Make it of such layers.*"
    ) as caught:
        open_model_file(path)
    assert str(caught.value).endswith(f"Received: path={str(path)!r}: without Doubling")


def test_subclassed_model_of_the_users_own_is_named(unknown, images, tmp_path):
    model = Subclassed()
    model(images)
    with pytest.raises(ValueError, match="must be a functional or Sequential model.*without Subclassed$"):
        open_model_file(saved(tmp_path, model))


def test_lambda_is_not_loaded(tmp_path):
    path = saved(tmp_path, functional(keras.layers.Lambda(lambda images: images / 255), MAC()))
    with pytest.raises(ValueError, match="a Lambda is not loaded.*: Requested the deserialization of a `Lambda` layer"):
        open_model_file(path)


@pytest.mark.parametrize("name", ["missing.keras", "model.h5"])
def test_model_must_be_an_existing_keras_file(tmp_path, name):
    (tmp_path / "model.h5").touch()
    with pytest.raises(FileNotFoundError, match="`path` must name an existing .keras file. Received: path=.*" + name):
        open_model_file(tmp_path / name)


def test_damaged_file_is_refused(whitened_model, tmp_path):
    path = saved(tmp_path, whitened_model)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="must be a file that `model.save` wrote whole. Received: path=.*model.keras"):
        open_model_file(path)
