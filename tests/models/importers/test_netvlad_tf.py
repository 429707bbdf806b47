import runpy
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.models.importers import netvlad_tf
from keras_sare.models.importers.load import load_weights_from

DATA = Path(__file__).parents[2] / "data"
SEEDED = SimpleNamespace(**runpy.run_path(str(DATA / "matlab_parameters.py")))


def save(prefix: Path, variables: dict[str, np.ndarray]) -> Path:
    """Writes a checkpoint as TensorFlow 1's Saver does."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        feeds = {tf.compat.v1.placeholder(array.dtype, array.shape): array for array in variables.values()}
        names = list(variables)
        save_op = tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=list(feeds)
        )
        session.run(save_op, feeds)
    return prefix


def narrow_variables(channels: int = 4, clusters: int = 3, dim: int = 2) -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    shapes: dict[str, tuple[int, ...]] = {f"{name}/kernel": (3, 3, 4, channels) for name in CONVOLUTIONS}
    shapes |= {f"{name}/bias": (channels,) for name in CONVOLUTIONS}
    shapes |= {"average_rgb": (3,), "assignment/kernel": (1, 1, channels, clusters)}
    shapes |= {"cluster_centers": (1, 1, 1, channels, clusters)}
    shapes |= {"WPCA/kernel": (1, 1, channels * clusters, dim), "WPCA/bias": (dim,)}
    return {f"vgg16_netvlad_pca/{name}": random.normal(size=shape).astype("f4") for name, shape in shapes.items()}


def test_descriptors_of_real_photographs_equal_the_originals(real_data: Path, tmp_path: Path) -> None:
    variables = SEEDED.checkpoint_variables(SEEDED.convolutions(real_data))
    model = load_weights_from(save(tmp_path / "net", variables))
    oracle = np.load(DATA / "netvlad_tf_oracle.npz")
    photos = SEEDED.photos(real_data)
    gray = np.repeat(photos[0][:, :, :1], 3, axis=2)
    found = keras.ops.convert_to_numpy(model(np.stack([*photos, gray])))
    assert np.abs(found - [*oracle["colour"], oracle["gray"][0]]).max() < 1e-5


def test_signs_and_orders_are_those_of_this_library(tmp_path: Path) -> None:
    variables = narrow_variables()
    imported = netvlad_tf.read(save(tmp_path / "net", variables))
    assignment, centroids = imported.layers["netvlad"]
    assert np.array_equal(assignment, variables["vgg16_netvlad_pca/assignment/kernel"][0, 0])
    assert np.array_equal(centroids, -variables["vgg16_netvlad_pca/cluster_centers"][0, 0, 0].T)
    matrix = variables["vgg16_netvlad_pca/WPCA/kernel"][0, 0]
    assert np.array_equal(imported.layers["whitening"][0][1 * 4 + 2], matrix[1 + 3 * 2])
    assert imported.preprocessing["mean"] == tuple(variables["vgg16_netvlad_pca/average_rgb"].tolist())
    assert imported.options == {"clusters": 3, "normalization": "matlab"}
    assert (imported.dim, imported.cut, imported.relu) == (2, "conv5_3", False)


def test_a_checkpoint_is_found_by_its_prefix_its_files_and_its_folder(tmp_path: Path) -> None:
    save(tmp_path / "net", narrow_variables())
    for name in ("net", "net.index", "net.data-00000-of-00001", "net.meta", ""):
        assert netvlad_tf.read(tmp_path / name).dim == 2


def test_whitening_is_optional_and_what_an_optimiser_stored_is_ignored(tmp_path: Path) -> None:
    variables = {name: array for name, array in narrow_variables().items() if "WPCA" not in name}
    variables |= {"vgg16_netvlad_pca/conv1_1/kernel/Adam": np.zeros(2, "f4"), "beta1_power": np.ones(1, "f4")}
    imported = netvlad_tf.read(save(tmp_path / "net", variables))
    assert imported.dim is None
    assert imported.layers.keys() == {*CONVOLUTIONS, "netvlad"}


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file none.index. Received: path="):
        netvlad_tf.read(tmp_path / "none")


def test_a_folder_with_two_checkpoints_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(tmp_path / name, narrow_variables())
    with pytest.raises(ValueError, match=r"folder with one checkpoint.* Received: .*'one.index', 'two.index'"):
        netvlad_tf.read(tmp_path)


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    scope = "vgg16_netvlad_pca"
    whole = narrow_variables()
    lacking = {name: array for name, array in whole.items() if "conv4_2/bias" not in name}
    scopes = {name: np.zeros(shape, "f4") for name, shape in (("WPCA", (3, 3, 12, 2)), ("assignment", (3, 3, 4, 3)))}
    wide, wide_scores = ({**whole, f"{scope}/{name}/kernel": kernel} for name, kernel in scopes.items())
    unfit = {**whole, f"{scope}/cluster_centers": np.zeros((4, 3), "f4")}
    for variables, message in (
        ({"w": np.ones(2, "f4")}, r"it has 0 variables called average_rgb among 1: \['w'\]"),
        (lacking, r"it lacks the variables \['conv4_2/bias'\]"),
        (unfit, r"it has an assignment \(1, 1, 4, 3\) and centres \(4, 3\) that do not fit"),
        (wide, r"it has a WPCA \(3, 3, 12, 2\) and 2 biases where \(1, 1, 12, biases\) fits"),
        (wide_scores, r"it has an assignment \(3, 3, 4, 3\) and centres .* that do not fit"),
    ):
        with pytest.raises(ValueError, match=rf"`path` must be a checkpoint of netvlad_tf_open .*{message}"):
            netvlad_tf.read(save(tmp_path / "net", variables))


def test_a_cut_checkpoint_is_an_error(tmp_path: Path) -> None:
    save(tmp_path / "net", narrow_variables())
    for name in ("net.data-00000-of-00001", "net.index"):
        file = tmp_path / name
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ValueError, match=r"`path` must be a checkpoint of netvlad_tf_open .* Received: path="):
            netvlad_tf.read(tmp_path / "net")
