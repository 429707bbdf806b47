"""Photos that are stored turned, as phones store them, have one descriptor along the whole line."""

import functools
import json
import shutil
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import localise
from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.converters.tflite import write_tflite
from export.fidelity.meter import FidelityMeter
from export.fidelity.photos import FidelityPhotos
from export.fidelity.runtime_process import Session
from export.formats import FORMATS
from export.index_file import write_index
from export.manifest import manifest, manifest_path
from export.reading import Reading, reading_beside
from export.source import Source
from keras_sare.datasets import ImageSet, PlaceDataset, open_splits
from keras_sare.evaluation import evaluate
from keras_sare.extraction import Extractor, ImageInputs
from keras_sare.layers import MAC
from keras_sare.models import build

SIZE = (72, 128)
Turn = Image.Transpose
# How a camera stores what is to be shown: the inverse of what each orientation asks for.
STORED = {2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE}
STORED |= {6: Turn.ROTATE_90, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_270}


def store(photo, path, orientation):
    """Writes a photo as a camera in this orientation does; a viewer shows no difference."""
    exif = Image.Exif()
    exif[274] = orientation
    turned = photo.transpose(STORED[orientation]) if orientation in STORED else photo
    turned.save(path, quality=97, subsampling=0, exif=exif)


@pytest.fixture(scope="module")
def model(real_data):
    """The first convolutions of VGG16: cheap, and real features."""
    whole = build("vgg16_mac", real_data / "weights/vgg16_imagenet_torchvision_notop.h5")
    return keras.Model(whole.input, MAC(name="mac")(whole.get_layer("conv2_2").output), name="vgg16_start")


@pytest.fixture(scope="module")
def places(real_data, tmp_path_factory):
    """Eight real queries and the database images next to them, each in all eight orientations, then none turned."""
    folder = tmp_path_factory.mktemp("photos")
    test = open_splits(real_data / "ie_tower")["test"]
    queries = np.linspace(0, len(test.queries) - 1, 8).astype(int)
    nearest = [positives[0] for positives in (test.positives(25.0)[query] for query in queries)]
    sides = {}
    for name, side, chosen in (("q", test.queries, queries), ("d", test.database, np.array(nearest))):
        for orientation, path in enumerate(side.paths[chosen].tolist(), 1):
            with Image.open(path) as photo:
                store(photo.resize((320, 180)), folder / f"{name}{orientation}.jpg", orientation)
                store(photo.resize((320, 180)), folder / f"{name}{orientation}_upright.jpg", 1)
        for kind in ("", "_upright"):
            paths = [str(folder / f"{name}{orientation}{kind}.jpg") for orientation in range(1, 9)]
            sides[name + kind] = ImageSet(paths, side.positions[chosen])
    stored = PlaceDataset("turned_test", sides["d"], sides["q"])
    return stored, PlaceDataset("upright_test", sides["d_upright"], sides["q_upright"])


@pytest.fixture(scope="module")
def saved_models(model, tmp_path_factory):
    """A SavedModel for each way to read images."""
    folder = tmp_path_factory.mktemp("saved_models")
    for orientation in ("upright", "stored"):
        source = Source(model, SIZE, "vgg16_start", "a test", orientation=orientation)
        write_saved_model(source, folder / orientation, SavedModelOptions(warmup=False))
    return folder


@pytest.fixture(scope="module")
def tflite(model, tmp_path_factory):
    """It takes pixels: how images are read is not in it."""
    path = tmp_path_factory.mktemp("tflite") / "float32.tflite"
    write_tflite(Source(model, SIZE, "vgg16_start", "a test"), path)
    return path


@pytest.fixture(scope="module")
def measured(model):
    """Descriptors of places, by what training and evaluation read; computed once for each orientation."""
    extractor = Extractor(model)

    @functools.cache
    def measure(places, orientation):
        inputs = ImageInputs(places.paths, SIZE, orientation)
        return extractor(inputs.batches(np.arange(len(places.paths)), 4), len(places.paths))

    return measure


def recalls(descriptors, places):
    database, queries = np.split(descriptors, [len(places.database)])
    return evaluate(queries, database, places.positives(25.0), protocol="", dataset="", ns=(1, 5))[0].recalls


def cosines(descriptors, others):
    return np.sum(descriptors * others, axis=1)


@pytest.mark.parametrize("orientation", ["upright", "stored"])
def test_measured_served_and_device_descriptors_are_the_same(measured, places, saved_models, tflite, orientation):
    turned, upright = places
    expected = measured(turned, orientation)
    served = tf.saved_model.load(saved_models / orientation)
    files = [tf.io.read_file(path) for path in turned.paths.tolist()]
    by_server = served.signatures["serving_default"](image_bytes=tf.stack(files))["embedding"].numpy()
    device = localise.open_model(tflite)
    photos = [localise.read_photo(path, SIZE, orientation) for path in turned.paths.tolist()]
    by_device = np.stack([localise.extract(device, photo) for photo in photos])
    for descriptors in (by_server, by_device):
        assert cosines(descriptors, expected).min() > 0.99999
        assert recalls(descriptors, turned) == recalls(expected, turned)
    as_shown = cosines(expected, measured(upright, "upright"))
    # Two of the sixteen are stored as they are shown.
    assert np.count_nonzero(as_shown > 0.999) == (16 if orientation == "upright" else 2)
    if orientation == "upright":
        assert recalls(expected, turned) == recalls(measured(upright, "upright"), upright)


def test_manifest_and_index_say_the_orientation_and_the_device_follows(model, places, tflite, tmp_path, capsys):
    turned, _ = places
    path = tmp_path / "float32.tflite"
    source = Source(model, SIZE, "vgg16_start", "a test", orientation="stored")
    shutil.copy(tflite, path)
    assert reading_beside(path, SIZE).orientation == "upright"
    fidelity = type("Nothing", (), {"to_json": lambda self: "{}"})()
    manifest_path(path).write_text(json.dumps(manifest(source, "tflite", path, path.name, fidelity, {})))
    assert reading_beside(path) == Reading(SIZE, "stored")
    write_index(path, Reading(SIZE, "stored"), turned.database, tmp_path, tmp_path / "index.npz")
    for photo in turned.database.paths[1:3].tolist():
        localise.main(str(path), str(tmp_path / "index.npz"), photo)
        best = capsys.readouterr().out.splitlines()[0]
        assert best.startswith("1.000")


class Here(nullcontext):
    """An artefact in this process, in place of one of its own that would take seconds to start."""

    takes_batches = True

    def __init__(self, kind, path, _):
        super().__init__(self)
        session = Session(*FORMATS[kind].load(str(path), 1))
        self.extract = session.extract
        self.extract_files = session.extract_files

    def latency(self, images):
        return 0.1

    def peak_memory(self):
        return 1000


def test_a_reader_that_does_not_turn_shows_in_the_fidelity_report(model, places, saved_models, monkeypatch):
    turned, _ = places
    monkeypatch.setattr("export.fidelity.meter.Runtime", Here)
    for module in ("keras_file", "saved_model"):
        monkeypatch.setattr(f"export.formats.{module}.import_tensorflow", lambda threads: tf)
    source = Source(model, SIZE, "vgg16_start", "a test")
    meter = FidelityMeter(source, FidelityPhotos.of_files(turned.paths.tolist()))
    assert meter.measure("right", "saved_model", saved_models / "upright").cosine_min > 0.99999
    assert meter.measure("wrong", "saved_model", saved_models / "stored").cosine_min < 0.99
