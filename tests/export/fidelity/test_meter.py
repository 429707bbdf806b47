from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.fidelity import meter as fidelity_meter
from export.fidelity.meter import KERAS_MODEL, FidelityMeter
from export.fidelity.photos import FidelityPhotos
from export.quantisation.sample_photos import sample_photo
from export.source import Source
from keras_sare.datasets import ImageSet, PlaceDataset, load_image
from keras_sare.evaluation import evaluate

SIZE = (24, 32)


class Embedding(tf.Module):
    """What a TFLite file is made of: a model and what happens to its descriptors."""

    def __init__(self, model, change=lambda descriptors: descriptors, shape=(None, None, None, 3)):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        self.images = tf.function(
            lambda images: {"embedding": change(model(images, training=False))},
            input_signature=[tf.TensorSpec(shape, tf.float32, name="images")],
        )

    def write(self, path):
        function = self.images.get_concrete_function()
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], self).convert())
        return path


def mixed(descriptors):
    """Adds each number's neighbour: another ranking, with no ties that rounding could break."""
    return tf.math.l2_normalize(descriptors + tf.gather(descriptors, [7, *range(7)], axis=-1), axis=-1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Ten house fronts 30 m apart; queries are the same ones at another scale, a few metres away."""
    folder = tmp_path_factory.mktemp("photos")

    def side(name, size, numbers, north):
        paths = [folder / f"{name}{number}.jpg" for number in numbers]
        for number, path in zip(numbers, paths, strict=True):
            path.write_bytes(sample_photo(number, size))
        return ImageSet(np.array(list(map(str, paths))), np.array([(30.0 * number, north) for number in numbers]))

    return PlaceDataset("fronts_test", side("d", (60, 80), range(10), 0.0), side("q", (36, 40), range(3, 10), 5.0))


@pytest.fixture(scope="module")
def meter(whitened_model, dataset):
    source = Source(whitened_model, SIZE, "small_mac", "here")
    return FidelityMeter(source, FidelityPhotos.of_places(dataset), threads=1, batch_size=4)


def described(dataset, model):
    return [
        model(np.stack([load_image(path, SIZE) for path in side.paths])).numpy()
        for side in (dataset.queries, dataset.database)
    ]


def recalls(dataset, queries, database):
    """Recall@1, @5 and @10, which no processor's rounding can change: no other image is as near as the right one."""
    similarities = queries @ database.T
    right = np.arange(len(queries)), np.arange(3, 10)
    margins = np.abs(similarities - similarities[right][:, None])
    margins[right] = np.inf
    assert margins.min() > 1e-4
    positives = [np.array([number]) for number in range(3, 10)]
    return evaluate(queries, database, positives, protocol="", dataset="", ns=(1, 5, 10))[0].recalls


@pytest.fixture
def in_this_process(whitened_model, monkeypatch):
    """Runs the Keras model here in place of every artefact: starting a process takes seconds.

    Calling it says what becomes of the model's descriptors.
    """
    changes = [lambda descriptors: descriptors]

    def extract(images):
        return np.asarray(changes[-1](whitened_model(images)))

    class Here(nullcontext):
        takes_batches = True
        latency = staticmethod(lambda images: 0.5 * len(images))
        peak_memory = staticmethod(lambda: 1000)

        def __enter__(self):
            return self

        def extract(self, images):
            return extract(images)

        def extract_files(self, paths):
            return np.concatenate([extract(load_image(path, SIZE)[None]) for path in paths])

    monkeypatch.setattr(fidelity_meter, "Runtime", lambda *_: Here())
    return changes.append


def test_first_row_is_the_keras_model_itself(meter, dataset, whitened_model, tmp_path):
    row = meter.rows[0]
    assert (row.artefact, row.kind, row.dim, row.images) == (KERAS_MODEL, "keras", 8, 17)
    assert (row.cosine_min, row.cosine_median) == pytest.approx((1, 1), abs=1e-12)
    assert row.recalls == row.keras_recalls == recalls(dataset, *described(dataset, whitened_model))
    whitened_model.save(tmp_path / "model.keras")
    assert row.bytes == pytest.approx((tmp_path / "model.keras").stat().st_size, abs=100)
    assert row.recall_drop == 0
    assert row.latency_1 > 0
    assert row.latency_8 > 0
    assert row.data == "fronts_test, 10 database images and 7 queries, within 25 m"
    assert (row.image_size, row.threads) == (SIZE, 1)


def test_faithful_artefact_has_the_keras_models_recall_and_its_time_is_told_before(
    meter, whitened_model, tmp_path, caplog
):
    path = Embedding(whitened_model).write(tmp_path / "float32.tflite")
    with caplog.at_level("INFO", "keras_sare.export"):
        row = meter.measure("tflite/float32.tflite", "tflite", path)
    estimate, result = [record.getMessage() for record in caplog.records][-2:]
    assert estimate.startswith("tflite/float32.tflite: measuring on 17 photos takes about ")
    assert result.startswith("tflite/float32.tflite: 0.0 MB, smallest cosine ")
    assert row is meter.rows[-1]
    assert row.cosine_min > 0.999999
    assert row.recalls == meter.rows[0].recalls
    assert row.bytes == path.stat().st_size
    assert row.peak_memory < meter.rows[0].peak_memory
    assert row.is_comparable(meter.rows[0])


def test_unfaithful_artefact_has_the_cosines_and_recalls_of_its_descriptors(meter, dataset, whitened_model, tmp_path):
    path = Embedding(whitened_model, mixed).write(tmp_path / "mixed.tflite")
    row = meter.measure("tflite/mixed.tflite", "tflite", path)
    exact = described(dataset, whitened_model)
    changed = [mixed(descriptors).numpy() for descriptors in exact]
    cosines = np.sum(np.concatenate(changed) * np.concatenate(exact), axis=1)
    assert row.cosine_min == pytest.approx(cosines.min(), abs=1e-4)
    assert row.cosine_median == pytest.approx(np.median(cosines), abs=1e-4)
    assert row.cosine_min < 0.99
    assert row.recalls == recalls(dataset, *changed) != row.keras_recalls
    assert row.recall_drop == pytest.approx(100 * (row.keras_recalls[0] - row.recalls[0]))


def test_shorter_descriptors_are_compared_with_the_first_numbers(meter, dataset, whitened_model, in_this_process):
    in_this_process(lambda d: tf.math.l2_normalize(d[:, :3], axis=-1))
    row = meter.measure("tflite/short.tflite", "tflite", Path(dataset.queries.paths[0]))
    assert row.dim == 3
    assert row.cosine_min > 0.999999
    assert row.recalls == recalls(dataset, *(each[:, :3] / np.linalg.norm(each[:, :3], axis=1, keepdims=True)
                                             for each in described(dataset, whitened_model)))  # fmt: skip


def test_artefact_for_one_image_has_no_latency_of_a_batch(meter, whitened_model, tmp_path):
    path = Embedding(whitened_model, shape=(1, *SIZE, 3)).write(tmp_path / "fixed.tflite")
    row = meter.measure("tflite/fixed.tflite", "tflite", path)
    assert row.latency_8 is None
    assert row.cosine_min > 0.999999


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda d: d * np.nan, "dim=8, and 17 of 17 have another norm or numbers that are not finite"),
        (lambda d: 1.1 * d, "dim=8, and 17 of 17 have another norm"),
        (lambda d: tf.concat([d, d], -1) / np.sqrt(2), "dim=16, and 0 of 17"),
    ],
)
def test_descriptors_that_cannot_be_compared_are_refused(change, received, meter, in_this_process, dataset):
    in_this_process(change)
    path = Path(dataset.queries.paths[0])
    rows = len(meter.rows)
    with pytest.raises(ValueError, match=f"'broken' must give descriptors of norm 1, of 8 numbers.*{received}"):
        meter.measure("broken", "tflite", path)
    assert len(meter.rows) == rows


@pytest.mark.usefixtures("in_this_process")
def test_photos_that_keep_their_aspect_ratio_are_described_each_at_its_size(whitened_model, dataset):
    photos = FidelityPhotos.of_files([*dataset.queries.paths[:2], *dataset.database.paths[:3]])
    meter = FidelityMeter(Source(whitened_model, 30, "small_mac", "here"), photos)
    row = meter.measure("float32", "tflite", Path(dataset.queries.paths[0]))
    assert meter.rows[0].image_size == row.image_size == (27, 30)
    assert row.cosine_min > 0.999999
    assert row.images == 5
    assert row.ns == row.recalls == row.keras_recalls == ()
    assert (row.latency_1, row.latency_8, row.peak_memory) == (0.5, 4.0, 1000)


@pytest.mark.usefixtures("in_this_process")
def test_size_of_a_folder_is_that_of_all_its_files(meter, tmp_path):
    (tmp_path / "1" / "variables").mkdir(parents=True)
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"abc")
    (tmp_path / "1" / "variables" / "data").write_bytes(b"defgh")
    assert meter.measure("saved_model/1", "saved_model", tmp_path / "1").bytes == 8
