"""Public functions take numbers and arrays in whatever form they come, and give what plain ones give."""

import dataclasses
import functools
import importlib
import inspect
import json
import re

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_sare import datasets, evaluation, layers, losses, mining, models, retrieval, whitening
from keras_sare.training import PlaceSettings
from keras_sare.utils.arguments import plain_arguments

RANDOM = np.random.default_rng(0)


def unit(rows, columns=6):
    vectors = RANDOM.normal(size=(rows, columns)).astype("float32")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


QUERIES = unit(3)
DATABASE = unit(40)
BOTH = {"queries": QUERIES, "database": DATABASE}
POSITIVES = [np.array([i, i + 1]) for i in range(3)]
NONE = [np.zeros(0, np.int64)] * 3
RANKS = np.stack([np.random.default_rng(i).permutation(40) for i in range(3)], axis=1)
PLACES = RANDOM.uniform(0, 50, (30, 2))
MAPS = RANDOM.random((2, 5, 7, 3)).astype("float32")


def photo(folder):
    path = folder / "photo.png"
    Image.fromarray(RANDOM.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(path)
    return str(path)


def layer_output(cls, **arguments):
    """Of a layer with seeded weights, and what is saved of it, which must be JSON."""
    keras.utils.set_random_seed(0)
    layer = cls(**arguments)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)["config"]))
    return layer(MAPS), {key: value for key, value in config.items() if key != "name"}


def incremental(dim, batch, rows):
    fit = whitening.IncrementalPCAWhitening(dim)
    fit.update(batch)
    return fit.finish(dim).truncated(dim).apply(rows)


def initialised(centroids, alpha):
    layer = layers.NetVLAD(3)
    layer.build((None, None, None, 3))
    layer.set_clusters(centroids, alpha)
    return layer(MAPS)


def projected(projection, bias, mean):
    layer = layers.Whitening(2)
    layer.build((None, 6))
    layer.set_projection(projection, bias, mean)
    return layer(QUERIES)


def mined(queries, epoch, **arguments):
    miner = mining.HardNegativeMiner(POSITIVES, POSITIVES, database_size=40, negatives=2, pool=10)
    return miner.mine(queries, epoch=epoch, **arguments)


CASES = {
    "nearest": (retrieval.nearest, {**BOTH, "k": 3, "block_rows": 16}),
    "average_expand": (retrieval.average_expand, {**BOTH, "n": 3}),
    "alpha_expand": (retrieval.alpha_expand, {**BOTH, "n": 3, "alpha": 2.0}),
    "augment_database": (retrieval.augment_database, {"database": DATABASE, "n": 3}),
    "affinity_graph": (lambda **k: retrieval.affinity_graph(**k).toarray(), {"database": DATABASE, "k": 4}),
    "diffuse": (lambda **k: retrieval.diffuse(settings=retrieval.DiffusionSettings(8, 3), **k), {**BOTH, "n": 5}),
    "k_reciprocal": (retrieval.k_reciprocal, {**BOTH, "n": 5, "k1": 6, "k2": 2}),
    "quantise_activations": (retrieval.quantise_activations, {"maps": MAPS, "limit": 1.0, "levels": 4}),
    "DiffusionSettings": (retrieval.DiffusionSettings, {"k": 4, "query_k": 2, "truncate": 10}),
    "BoxSearch": (retrieval.BoxSearch, {"power": 8, "step": 2}),
    "fit_pca_whitening": (whitening.fit_pca_whitening, {"descriptors": DATABASE, "dim": 3, "max_samples": 30}),
    "fit_learned_whitening": (
        whitening.fit_learned_whitening,
        {"descriptors": DATABASE, "queries": np.arange(20), "positives": np.arange(20, 40), "dim": 3},
    ),
    "largest_dimension": (whitening.largest_dimension, {"samples": 40, "features": 6}),
    "IncrementalPCAWhitening": (incremental, {"dim": 2, "batch": DATABASE, "rows": QUERIES}),
    "NetVLAD.set_clusters": (initialised, {"centroids": unit(3, 3), "alpha": 5.0}),
    "Whitening.set_projection": (projected, {"projection": unit(6, 3), "bias": np.zeros(3), "mean": QUERIES[0]}),
    "mine": (mined, {"queries": np.arange(3), "epoch": 1, "descriptors": QUERIES, "database": DATABASE}),
    "recall_at": (evaluation.recall_at, {"predictions": RANKS.T, "positives": POSITIVES, "ns": (1, 5)}),
    "evaluate": (
        evaluation.evaluate,
        {
            "query_descriptors": QUERIES,
            "database_descriptors": DATABASE,
            "positives": POSITIVES,
            "protocol": "pitts30k",
            "dataset": "town",
            "ns": (1, 5),
        },
    ),
    "average_precisions": (
        evaluation.average_precisions,
        {**BOTH, "positives": POSITIVES, "ignored": NONE, "ks": (1, 5), "dimensions": 4},
    ),
    "average_precisions_of_ranks": (
        evaluation.average_precisions_of_ranks,
        {"ranks": RANKS.T, "positives": POSITIVES, "ignored": NONE, "ks": (1, 5)},
    ),
    "ComparisonSettings": (evaluation.ComparisonSettings, {"longer_side": 64, "dimensions": 16}),
    "same_group": (datasets.same_group, {"query_groups": np.arange(3), "database_groups": np.arange(6) % 3}),
    "neighbours_within": (datasets.neighbours_within, {"queries": PLACES[:4], "database": PLACES, "radius": 20.0}),
    "fitted_size": (datasets.fitted_size, {"height": 30, "width": 40, "longer_side": 20}),
    "earth_centred": (datasets.earth_centred, {"latitude": PLACES[:, 0], "longitude": PLACES[:, 1]}),
    "Augmentation": (datasets.Augmentation, {"brightness": 0.1}),
    "HardNegativeMiner": (
        lambda **arguments: mining.HardNegativeMiner(**arguments).pool,
        {"positives": POSITIVES, "non_negatives": POSITIVES, "database_size": 40, "negatives": 2, "pool": 10},
    ),
    "PositiveRule": (mining.PositiveRule, {"name": "m2", "neighbours": 7}),
    "truncated": (lambda dim: models.truncated(whitened(), dim).output.shape, {"dim": 3}),
    "assemble": (
        lambda **arguments: models.assemble("alexnet", "gem", **arguments).output.shape,
        {"dim": 4},
    ),
    "build": (
        lambda **arguments: models.build("alexnet_netvlad", None, **arguments).output.shape,
        {"clusters": 2, "dim": 4},
    ),
    "region_grid": (layers.region_grid, {"height": 6, "width": 9, "levels": 2}),
    "NetVLAD": (layer_output, {"cls": layers.NetVLAD, "clusters": 3}),
    "GeM": (layer_output, {"cls": layers.GeM, "p": 2.0}),
    "RMAC": (layer_output, {"cls": layers.RMAC, "levels": 2}),
    "MixVPR": (layer_output, {"cls": layers.MixVPR, "tokens": (3, 4), "depth": 1, "channels": 3, "rows": 2}),
    "ConvAP": (layer_output, {"cls": layers.ConvAP, "channels": 3, "s1": 1}),
    "SALAD": (layer_output, {"cls": layers.SALAD, "clusters": 3, "cluster_dim": 2, "token_dim": 2, "hidden": 4}),
    "ImagePreprocessing": (
        layer_output,
        {"cls": layers.ImagePreprocessing, "mean": (1.0, 2.0, 3.0), "std": (2.0, 2.0, 2.0)},
    ),
    "SARELoss": (lambda **arguments: losses.SARELoss(**arguments).get_config(), {"temperature": 0.5}),
    "TripletLoss": (lambda **arguments: losses.TripletLoss(**arguments).get_config(), {"margin": 0.5}),
    "ContrastiveLoss": (lambda **arguments: losses.ContrastiveLoss(**arguments).get_config(), {"margin": 0.5}),
    "PlaceSettings": (lambda **k: json.dumps(dataclasses.asdict(PlaceSettings(**k))), {"negatives": 3, "epochs": 2}),
}


def whitened():
    descriptors = keras.Input((6,))
    identity = keras.Model(descriptors, keras.layers.Identity()(descriptors))
    return models.with_whitening(identity, np.eye(6, 5), np.zeros(5), 5)


def changed(value, of_number, of_array):
    """An argument in another form: numbers, alone or in a tuple, and arrays."""
    if isinstance(value, np.ndarray):
        return of_array(value)
    if isinstance(value, tuple):
        return tuple(changed(one, of_number, of_array) for one in value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return of_number(value) if number else value


FORMS = {
    "numbers of numpy": (lambda n: np.int64(n) if isinstance(n, int) else np.float64(n), lambda a: a),
    "arrays without dimensions": (np.array, lambda a: a),
    "tensors": (tf.constant, tf.constant),
    "lists": (lambda n: n, lambda a: a.tolist()),
}


def parts(result):
    """What a function returned, in pieces that can be compared."""
    if dataclasses.is_dataclass(result):
        result = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if isinstance(result, dict):
        result = [result[key] for key in sorted(result)]
    if isinstance(result, list | tuple):
        return [piece for part in result for piece in parts(part)]
    return [np.asarray(result)]


@functools.cache
def of_plain_arguments(name):
    function, arguments = CASES[name]
    return parts(function(**arguments))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_arguments_in_any_form_give_what_plain_ones_give(name, form):
    function, arguments = CASES[name]
    expected = of_plain_arguments(name)
    found = parts(function(**{key: changed(value, *FORMS[form]) for key, value in arguments.items()}))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if one.dtype.kind in "fc":
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_sizes_of_images_come_in_any_form(tmp_path, form):
    path = photo(tmp_path)
    for size in (8, (6, 9)):
        other = changed(size, *FORMS[form])
        np.testing.assert_array_equal(datasets.load_image(path, other), datasets.load_image(path, size))
        ((_, images),) = datasets.image_batches([path], other, changed(2, *FORMS[form]))
        np.testing.assert_array_equal(images[0], datasets.load_image(path, size))
    np.testing.assert_array_equal(datasets.load_image(path, np.array([6, 9])), datasets.load_image(path, (6, 9)))


TENSORS = {"layers.l2_normalize", "losses.contrastive", "losses.triplet"}
"""They compute with tensors, also of a graph that is being traced, and take whatever Keras' operations take."""

RESULTS = {
    "Reranking",
    "RecallReport",
    "RetrievalReport",
    "MinedTuples",
    "MatchingPairs",
    "Neighbours",
    "Preset",
    "DimensionError",
}
"""What functions of ours give, rather than what people make."""


def public_targets():
    for package in ("datasets", "evaluation", "layers", "losses", "mining", "models", "retrieval", "whitening"):
        module = importlib.import_module(f"keras_sare.{package}")
        for name in module.__all__:
            target = getattr(module, name)
            if inspect.isfunction(target) or (inspect.isclass(target) and name not in RESULTS):
                yield f"{package}.{name}", target


def test_every_public_function_that_takes_numbers_takes_them_in_any_form():
    missing = []
    for name, target in public_targets():
        function = target.__init__ if inspect.isclass(target) else target
        hints = [str(p.annotation) for p in inspect.signature(function).parameters.values()]
        if any(re.search(r"\bint\b|'float'", hint) for hint in hints) and not hasattr(function, "__wrapped__"):
            missing.append(name)
    assert set(missing) == TENSORS


def test_what_cannot_be_an_argument_says_so_by_the_name_of_the_function():
    with pytest.raises(TypeError, match=r"nearest\(\) missing 1 required positional argument: 'k'"):
        retrieval.nearest(QUERIES, DATABASE)


def test_arrays_on_disk_are_left_as_they_are(tmp_path):
    mapped = np.memmap(tmp_path / "rows", "float32", "w+", shape=(2, 3))

    @plain_arguments
    def same(rows: np.ndarray) -> np.ndarray:
        return rows

    assert same(mapped) is mapped
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        rows = file.create_dataset("rows", data=mapped)
        assert same(rows) is rows
