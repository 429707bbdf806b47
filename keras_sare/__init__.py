"""Place recognition in Keras: photos with positions in, a served embedding out.

The packages stand in the order in which a photo meets them:

    datasets    images with positions, their neighbours in space, the tf.data image pipeline
    layers      NetVLAD, MAC, GeM, R-MAC and other poolings, whitening and preprocessing as Keras layers
    models      `build('vgg16_netvlad')`, ImageNet weights, other projects' weights, NetVLAD initialisation
    mining      potential positives, hard negatives and the tuples made of them
    losses      SARE, triplet, contrastive and other losses on tuples
    training    one training loop for every tf.distribute strategy
    whitening   PCA whitening and learned whitening, fitted on descriptors
    retrieval   exact nearest-neighbour search in bounded memory
    evaluation  recall@N, its table and its curves

`keras.saving.load_model` knows our layers and losses after `import keras_sare`, whichever is imported first.

Programs are outside of the library: `trainers`, `export` and `serving`.
"""

import importlib
from types import ModuleType

import wrapt

__version__ = "0.1.0"

_PACKAGES = frozenset(
    {
        "datasets",
        "distribution",
        "evaluation",
        "extraction",
        "layers",
        "losses",
        "mining",
        "models",
        "reconstruction",
        "retrieval",
        "training",
        "whitening",
    }
)

_SAVED_CLASSES = ("keras_sare.layers", "keras_sare.layers.dinov2", "keras_sare.losses")
"""Modules of the classes that a model's file may name. They import no other package of ours."""


@wrapt.when_imported("keras")
def _register_classes(_: ModuleType) -> None:
    """Registers our classes once Keras is there, so that `import keras_sare` alone need not import it."""
    for name in _SAVED_CLASSES:
        importlib.import_module(name)


def __getattr__(name: str) -> ModuleType:
    """Imports a package at its first use, so that `import keras_sare` is quick and `keras_sare.models` still works."""
    if name in _PACKAGES:
        return importlib.import_module(f"keras_sare.{name}")
    raise AttributeError(f"module 'keras_sare' has no attribute {name!r}")
