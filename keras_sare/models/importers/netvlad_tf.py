"""Checkpoints of netvlad_tf_open, the TensorFlow 1 port of NetVLAD.

Its conventions are those of the MATLAB code that it was converted from: descriptors are flattened channel by channel
before the whitening, what it calls `cluster_centers` is added to the local descriptors, so the centres are negated, and
clusters are divided by sqrt(1e-12 + |x|^2). Its grayscale variant has the same checkpoint: give this library's model
the gray image three times.
"""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_sare.models.backbones.vgg16 import CONVOLUTIONS
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.vgg16_netvlad import from_channel_major

_MEAN = "average_rgb"


def read(path: str | os.PathLike[str]) -> ImportedWeights:
    """Reads a checkpoint.

    Args:
        path: as given to `Saver.save` (for example "vd16_pitts30k_conv5_3_vlad_preL2_intra_white"), or one of the
            checkpoint's files, or the folder that it lies in alone.

    Returns:
        VGG16 with NetVLAD, whitened where the checkpoint has a layer WPCA.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it cannot be read, or is of another network.
    """
    prefix = _prefix(Path(path))
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
        scope = _scope(shapes)
        return _imported(
            {name.removeprefix(scope): reader.get_tensor(name) for name in shapes if name.startswith(scope)}
        )
    except (ValueError, LookupError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(
            "`path` must be a checkpoint of netvlad_tf_open (average_rgb, conv1_1 .. conv5_3, assignment, "
            f"cluster_centers, WPCA): {error}. Received: path={os.fspath(path)!r}"
        ) from error


def _prefix(path: Path) -> Path:
    found = sorted(path.glob("*.index")) if path.is_dir() else [path]
    if len(found) != 1:
        raise ValueError(
            f"`path` must be a folder with one checkpoint, or that checkpoint. Received: path={str(path)!r} with "
            f"{[file.name for file in found]}"
        )
    for ending in (".index", ".meta", ".data-00000-of-00001"):
        if found[0].name.endswith(ending):
            found = [found[0].with_name(found[0].name.removesuffix(ending))]
    if not found[0].with_name(f"{found[0].name}.index").is_file():
        raise FileNotFoundError(
            f"`path` must name a checkpoint: there is no file {found[0].name}.index. Received: path={str(path)!r}"
        )
    return found[0]


def _scope(names: dict[str, list[int]]) -> str:
    scopes = [name.removesuffix(_MEAN) for name in names if name.split("/")[-1] == _MEAN]
    if len(scopes) != 1:
        raise ValueError(f"it has {len(scopes)} variables called {_MEAN} among {len(names)}: {sorted(names)[:5]}")
    return scopes[0]


def _imported(variables: dict[str, np.ndarray]) -> ImportedWeights:
    wanted = [f"{name}/{part}" for name in CONVOLUTIONS for part in ("kernel", "bias")]
    missing = [name for name in (*wanted, "assignment/kernel", "cluster_centers") if name not in variables]
    if missing:
        raise ValueError(f"it lacks the variables {missing}")
    layers = {name: [variables[f"{name}/kernel"], variables[f"{name}/bias"]] for name in CONVOLUTIONS}
    assignment = variables["assignment/kernel"]
    centres = variables["cluster_centers"]
    clusters = assignment.shape[-1]
    if assignment.ndim != 4 or assignment.shape[:2] != (1, 1) or centres.shape != (1, *assignment.shape):
        raise ValueError(f"it has an assignment {assignment.shape} and centres {centres.shape} that do not fit")
    layers["netvlad"] = [assignment[0, 0], np.ascontiguousarray(-centres[0, 0, 0].T)]
    dim = None
    if "WPCA/kernel" in variables:
        kernel = variables["WPCA/kernel"]
        bias = variables["WPCA/bias"]
        if kernel.shape != (1, 1, centres[0].size, len(bias)):
            raise ValueError(
                f"it has a WPCA {kernel.shape} and {len(bias)} biases where (1, 1, {centres[0].size}, biases) fits"
            )
        layers["whitening"] = [from_channel_major(kernel[0, 0], clusters), bias]
        dim = len(bias)
    return ImportedWeights(
        layout="netvlad_tf_open",
        backbone="vgg16",
        torchvision=False,
        preprocessing={"mean": tuple(variables[_MEAN].tolist()), "std": (1.0, 1.0, 1.0), "bgr": False},
        layers=layers,
        pooling="netvlad",
        options={"clusters": clusters, "normalization": "matlab"},
        cut=CONVOLUTIONS[-1],
        relu=False,
        dim=dim,
    )
