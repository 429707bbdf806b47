"""Place recognition in Keras: photos with positions in, a served embedding out.

The packages stand in the order in which a photo meets them:

    dataset     datasets        photos with their positions, who is near whom, the tf.data image pipeline
                reconstruction  3D models of a photo collection, where nothing is known of positions
    model       layers          NetVLAD, GeM, MAC, R-MAC and other poolings, whitening and preprocessing as Keras layers
                models          `build("vgg16_netvlad")`, pretrained weights, other projects' weights, surgery
                extraction      photos to descriptors: `extract(model, photos)`
    mining      mining          potential positives, hard negatives and the tuples made of them
    loss        losses          SARE, triplet, contrastive and other losses on tuples
    training    training        one training loop for every tf.distribute strategy, checkpoints, the folder of a run
                distribution    several devices and machines
    whitening   whitening       PCA whitening and learned whitening, fitted on descriptors
    evaluation  retrieval       exact nearest-neighbour search in bounded memory, expansion, diffusion, re-ranking
                evaluation      recall@N and mAP, protocols, verdicts, tables and curves
    answer      local_features  XFeat and LighterGlue: points that two photos of a place share, and their geometry
                localization    an index of a map, the place that its answers agree about, how sure that is

After these come programs outside of the library: `trainers` runs all of the above, `export` writes SavedModels, TFLite
and ONNX files, `serving` answers requests.

What most users need first stands at the top:

    dataset = keras_sare.open_dataset("pitts30k", split="test")
    model = keras_sare.build("vgg16_netvlad")  # or keras_sare.load_weights_from("another_projects_weights.pth")
    queries = keras_sare.extract(model, dataset.queries.paths, size=(480, 640))
    database = keras_sare.extract(model, dataset.database.paths, size=(480, 640))
    report, _ = keras_sare.evaluate(queries, database, dataset.positives(radius=25))

`keras.saving.load_model` knows our layers and losses after `import keras_sare`, whichever is imported first.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from keras_sare import (
        datasets,
        distribution,
        evaluation,
        extraction,
        layers,
        local_features,
        localization,
        losses,
        mining,
        models,
        reconstruction,
        retrieval,
        training,
        whitening,
    )
    from keras_sare.datasets import open_dataset
    from keras_sare.evaluation import evaluate
    from keras_sare.extraction import extract
    from keras_sare.localization import Localizer
    from keras_sare.models import build, list_presets, load_weights_from, save_weights_as
    from keras_sare.retrieval import nearest
    from keras_sare.training import Trainer

__version__ = "0.1.0"

__all__ = [
    "Localizer",
    "Trainer",
    "build",
    "datasets",
    "distribution",
    "evaluate",
    "evaluation",
    "extract",
    "extraction",
    "layers",
    "list_presets",
    "load_weights_from",
    "local_features",
    "localization",
    "losses",
    "mining",
    "models",
    "nearest",
    "open_dataset",
    "reconstruction",
    "retrieval",
    "save_weights_as",
    "training",
    "whitening",
]

_PACKAGE_OF = {
    "Localizer": "localization",
    "Trainer": "training",
    "build": "models",
    "evaluate": "evaluation",
    "extract": "extraction",
    "list_presets": "models",
    "load_weights_from": "models",
    "nearest": "retrieval",
    "open_dataset": "datasets",
    "save_weights_as": "models",
}
"""Package that a function or class at the top comes from. All other names of `__all__` are packages."""

_SAVED_CLASSES = ("keras_sare.layers", "keras_sare.layers.dinov2", "keras_sare.losses")
"""Modules of the classes that a model's file may name. They import no other package of ours."""


@wrapt.when_imported("keras")
def _register_classes(_: ModuleType) -> None:
    """Registers our classes once Keras is there, so that `import keras_sare` alone need not import it."""
    for name in _SAVED_CLASSES:
        importlib.import_module(name)


def __getattr__(name: str) -> Any:
    """Imports at the first use, so that `import keras_sare` is quick and `keras_sare.models` still works."""
    if name in _PACKAGE_OF:
        return getattr(importlib.import_module(f"keras_sare.{_PACKAGE_OF[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"keras_sare.{name}")
    raise AttributeError(f"module 'keras_sare' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
