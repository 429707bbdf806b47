import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from keras_sare.layers import ImagePreprocessing, NetVLAD, Whitening
from keras_sare.models import PREPROCESSING
from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.models.importers import matconvnet
from keras_sare.models.importers.load import load_weights_from

DATA = Path(__file__).parents[2] / "data"
SEEDED = SimpleNamespace(**runpy.run_path(str(DATA / "matlab_parameters.py")))


def narrow_model(method: str = "vlad_preL2_intra", relu: bool = False, **preprocessing: Any) -> keras.Model:
    """A model of vgg16_netvlad's layers with 4 channels instead of up to 512."""
    images = keras.Input((None, None, 3))
    x = ImagePreprocessing(**preprocessing, name="preprocessing")(images)
    for name in CONVOLUTIONS:
        if name.endswith("_1") and name != "conv1_1":
            x = keras.layers.MaxPooling2D(2, name=f"pool{int(name[4]) - 1}")(x)
        activation = "relu" if name != "conv5_3" or relu else "linear"
        x = keras.layers.Conv2D(4, 3, padding="same", activation=activation, name=name)(x)
    x = NetVLAD(3, method=method, name="netvlad")(x)
    model = keras.Model(images, Whitening(2, name="whitening")(x))
    random = np.random.RandomState(3)
    model.set_weights([random.normal(size=array.shape).astype("f4") for array in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def seeded_file(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hloc") / "net.mat"
    net = SEEDED.network(SEEDED.convolutions(real_data), SEEDED.vlad_head())
    savemat(path, SEEDED.for_savemat({"net": net}))
    return path


@pytest.fixture(scope="module")
def model(seeded_file: Path) -> keras.Model:
    return load_weights_from(seeded_file, normalization="torch")


def as_hloc_reads(path: Path) -> list[np.ndarray]:
    """What hloc's extractor takes from a file, by the positions that it takes it from."""
    net = loadmat(path, struct_as_record=False, squeeze_me=True)["net"]
    kernels = [layer.weights[i] for layer in net.layers[:29] if layer.type == "conv" for i in (0, 1)]
    vlad = net.layers[30].weights
    whitening = net.layers[33].weights
    return [*kernels, vlad[0], vlad[1], whitening[0].squeeze(), whitening[1], net.meta.normalization.averageImage[0, 0]]


def test_descriptors_of_real_photographs_equal_hlocs(model: keras.Model, real_data: Path) -> None:
    oracle = np.load(DATA / "matlab_oracle.npz")
    both = keras.Model(model.input, [model.get_layer("netvlad").output, model.output])
    vlad, whitened = (keras.ops.convert_to_numpy(output) for output in both(np.stack(SEEDED.photos(real_data))))
    in_matlab_order = vlad.reshape(-1, SEEDED.CLUSTERS, SEEDED.CHANNELS).transpose(0, 2, 1).reshape(len(vlad), -1)
    assert np.abs(in_matlab_order[:, :: SEEDED.KEPT] - oracle["netvlad"]).max() < 1e-6
    assert np.abs(whitened - oracle["whitened"]).max() < 1e-5


def test_by_itself_a_matlab_file_gives_the_descriptors_of_matlab_not_hlocs(seeded_file: Path, real_data: Path) -> None:
    """netvlad_tf_open, whose oracle has the same parameters, normalises clusters as MATLAB does."""
    found = keras.ops.convert_to_numpy(load_weights_from(seeded_file)(np.stack(SEEDED.photos(real_data))))
    assert np.abs(found - np.load(DATA / "netvlad_tf_oracle.npz")["colour"]).max() < 1e-5
    assert np.abs(found - np.load(DATA / "matlab_oracle.npz")["whitened"]).max() > 0.01


def test_an_exported_model_holds_what_hloc_reads_bit_for_bit(
    model: keras.Model, seeded_file: Path, tmp_path: Path
) -> None:
    matconvnet.write(model, tmp_path / "exported.mat")
    pairs = zip(as_hloc_reads(tmp_path / "exported.mat"), as_hloc_reads(seeded_file), strict=True)
    assert all(one.shape == other.shape and np.array_equal(one, other) for one, other in pairs)


def test_an_exported_model_comes_back_bit_for_bit(tmp_path: Path) -> None:
    mean = (123.68, 1 / 3, 0.1)
    whitened = narrow_model(mean=mean, std=(1.0, 1.0, 1.0))
    plain = keras.Model(whitened.input, whitened.get_layer("netvlad").output)
    for model, dim in ((whitened, 2), (plain, None)):
        matconvnet.write(model, tmp_path / "net.mat")
        imported = matconvnet.read(tmp_path / "net.mat")
        assert tuple(imported.layers) == (*CONVOLUTIONS, "netvlad", "whitening")[: None if dim else -1]
        for name, arrays in imported.layers.items():
            layer = model.get_layer(name)
            whitening = name == "whitening"
            written = [layer.get_weights()[0], layer.folded_bias()] if whitening else layer.get_weights()
            pairs = zip(arrays, written, strict=True)
            assert all(one.shape == other.shape and np.array_equal(one, other) for one, other in pairs)
        assert imported.preprocessing == {"mean": mean, "std": (1.0, 1.0, 1.0), "bgr": False}
        options = {"clusters": 3, "method": "vlad_preL2_intra", "normalization": "matlab"}
        assert (imported.dim, imported.options) == (dim, options)


@pytest.mark.parametrize("preprocessing", ["caffe", "torch"])
def test_other_preprocessing_is_folded_into_the_first_convolution(tmp_path: Path, preprocessing: str) -> None:
    model = narrow_model(**PREPROCESSING[preprocessing])
    matconvnet.write(model, tmp_path / "net.mat")
    imported = matconvnet.read(tmp_path / "net.mat")
    again = narrow_model(**imported.preprocessing)
    for name, arrays in imported.layers.items():
        layer = again.get_layer(name)
        (layer.set_projection(*arrays) if name == "whitening" else layer.set_weights(arrays))
    images = np.random.RandomState(0).randint(0, 256, (1, 32, 48, 3)).astype("uint8")
    assert np.abs(keras.ops.convert_to_numpy(again(images) - model(images))).max() < 1e-5
    kernel = model.get_layer("conv1_1").get_weights()[0]
    # Reversing the channels is exact, dividing by the standard deviation is not.
    assert np.array_equal(imported.layers["conv1_1"][0], kernel[:, :, ::-1]) == (preprocessing == "caffe")


def test_models_that_hloc_cannot_read_are_refused(tmp_path: Path) -> None:
    unit: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    narrow = narrow_model(**unit)
    twice = keras.Model(narrow.input, Whitening(2, name="whitening_2")(narrow.output))
    local = keras.layers.UnitNormalization(name="local_l2")(narrow.get_layer("conv5_3").output)
    both = [narrow.get_layer("netvlad").output, narrow.output]
    for model, message in (
        (narrow_model("vladv2_preL2_intra", **unit), "method='vladv2_preL2_intra'"),
        (narrow_model(relu=True, **unit), "relu=True"),
        (keras.Model(narrow.input, narrow.get_layer("conv5_3").output), r"without the layers \['netvlad'\]"),
        (twice, r"the further layers \['whitening_2'\]"),
        (keras.Model(narrow.input, NetVLAD(3, name="netvlad")(local)), r"the further layers \['local_l2'\]"),
        (keras.Model(narrow.input, both), r"2 output\(s\)"),
    ):
        with pytest.raises(
            ValueError, match=rf"`model` must be vgg16_netvlad of the method vlad_preL2_intra.* Received: .*{message}"
        ):
            matconvnet.write(model, tmp_path / "net.mat")
    assert not list(tmp_path.iterdir())
