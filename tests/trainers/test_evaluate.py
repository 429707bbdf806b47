import csv
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_sare.datasets import ShorterSide, open_dataset, set_max_pixels
from keras_sare.evaluation.protocols import NAMED, Protocol
from trainers import evaluate, pitts
from trainers.config import EvaluateConfig, PittsConfig
from trainers.stages.places.evaluation import chosen_protocol


@pytest.fixture(scope="module")
def finished(town, small_start, tmp_path_factory, undrawn):
    """A run that only measured its start."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    start = {"weights": str(small_start), "train_from": "conv2", "image_size": (32, 48), "dim": 8, "negatives": 2}
    with undrawn():
        pitts.run(PittsConfig(root=str(town), output=str(folder), epochs=0, whitening="none", **start))
    return folder


def test_finished_model_is_measured_as_its_own_run_did(finished, town, tmp_path):
    shutil.copy(finished / "off_the_shelf.keras", tmp_path / "before.keras")
    models = (str(tmp_path / "before.keras"), str(finished))
    text = evaluate.run(EvaluateConfig(models=models, root=str(town), output=str(tmp_path / "out")))
    assert text == (tmp_path / "out" / "recall.md").read_text().rstrip()
    measured, own = (json.loads((folder / "recall.json").read_text()) for folder in (tmp_path / "out", finished))
    assert list(measured) == ["before", "run"]
    assert measured["run"]["recalls"] == own["untrained (epoch 0)"]["recalls"] == measured["before"]["recalls"]
    assert (tmp_path / "out" / "matches.png").stat().st_size > 100


def test_limit_on_pixels_reaches_every_reader_of_the_program(finished, town, tmp_path):
    settings = {"models": (str(finished),), "root": str(town), "output": str(tmp_path / "out")}
    try:
        with pytest.raises(ValueError, match=r"too large: declares 48 x 32 pixels, at most 1535 are read"):
            evaluate.run(EvaluateConfig(**settings, max_pixels=32 * 48 - 1))
    finally:
        set_max_pixels(None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split": "street"}, "`split` must be one that .* has: "),
        ({"image_size": ("9", "x")}, "`image_size` must be height,width in pixels, or one number that limits"),
        ({"models": (), "image_size": ("9",)}, "`models` must be given"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_written(finished, town, tmp_path, changed, message):
    settings = {"models": (str(finished),), "root": str(town), "output": str(tmp_path / "out"), **changed}
    with pytest.raises(ValueError, match=message):
        evaluate.run(EvaluateConfig(**settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"protocol": "tokyo"},
            r"`protocol` must be one of these\. pitts30k, pitts250k, .*: within 25 m; .*protocol='tokyo'",
        ),
        ({"protocol": "msls"}, r"Protocol 'msls' .* needs for every image of '.*': heading\. Add that to places\.csv"),
        ({"protocol": "pitts30k", "radius": 5.0}, r"`radius` is a rule of --protocol=own.*leave out --radius"),
        ({"exclude": ("weather",)}, "`exclude` must be of timestamp, photo, traversal"),
        ({"radius": 0.0}, "`radius` must be metres above 0"),
        ({"image_sizes": ("8x9x7",)}, "`image_sizes` must be longer sides, shorter:PIXELS or .*image_sizes=8x9x7"),
        ({"dims": ("8", "all")}, "`dims` must be whole numbers, for example 128,512. Received: dims=8,all"),
    ],
)
def test_rules_are_checked_before_a_model_is_opened(town, tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        evaluate.run(EvaluateConfig(models=("none.keras",), root=str(town), output=str(tmp_path / "out"), **changed))
    assert not (tmp_path / "out").exists()


def test_protocol_names_its_numbers_and_the_size_of_queries(finished, town, tmp_path, undrawn, monkeypatch):
    """The wider photos of a query are another image to the model; its database stays as it was."""
    rules = {"name": "small", "source": "a test", "radius": 30.0}
    recalls = []
    for size in (None, ShorterSide(20)):
        monkeypatch.setitem(NAMED, "small", Protocol(**rules, query_size=size))
        output = tmp_path / str(size)
        with undrawn():
            evaluate.run(EvaluateConfig(models=(str(finished),), root=str(town), output=str(output), protocol="small"))
        [report] = json.loads((output / "recall.json").read_text()).values()
        assert report["protocol"] == "small: recall@N within 30 m"
        with (output / "queries.csv").open(newline="") as file:
            recalls.append([row["score"] for row in csv.DictReader(file)])
    assert recalls[0] != recalls[1]
    assert len(list((tmp_path / "ShorterSide(20)" / "descriptors").glob("*.npy"))) == 2


@pytest.fixture(scope="module")
def swept(finished, town, tmp_path_factory, undrawn):
    """An evaluation with every sweep, and what it printed. The run itself was measured at 32 x 48 pixels."""
    output = tmp_path_factory.mktemp("swept") / "out"
    count = len(open_dataset(town, "test").database)
    sweeps = {"dims": ("4", "2"), "database_sizes": (str(count),), "image_sizes": ("32x48", "24")}
    with undrawn():
        text = evaluate.run(EvaluateConfig(models=(str(finished),), root=str(town), output=str(output), **sweeps))
    return output, text


def test_recall_against_dimension_and_database_size(swept, town):
    output, text = swept
    count = len(open_dataset(town, "test").database)
    [by_dimension] = json.loads((output / "recall_by_dimension.json").read_text()).values()
    assert list(by_dimension) == ["2", "4"]
    [by_size] = json.loads((output / "recall_by_database_size.json").read_text()).values()
    assert by_size[str(count)] == json.loads((output / "recall.json").read_text())["run"]
    assert "| dimension | recall@1 |" in text


def test_recall_against_image_size(swept):
    output, text = swept
    [by_size] = json.loads((output / "recall_by_image_size.json").read_text()).values()
    assert list(by_size) == ["32x48", "24"]
    assert by_size["32x48"] == json.loads((output / "recall.json").read_text())["run"]
    assert by_size["24"]["recalls"] != by_size["32x48"]["recalls"]
    assert "| image size | recall@1 |" in text


def test_evaluation_says_how_it_was_made(swept, town):
    record = json.loads((swept[0] / "evaluation.json").read_text())
    assert record["settings"]["root"] == str(town)
    assert record["settings"]["image_sizes"] == ["32x48", "24"]
    assert record["protocol"]["name"] == "own"
    assert (record["protocol"]["text"], record["protocol"]["radius"]) == ("within 25 m", 25.0)
    assert record["environment"]["tensorflow"] == tf.__version__
    assert record["environment"]["devices"] == "CPU"
    dataset = open_dataset(town, "test")
    sides = {"queries": len(dataset.queries), "database": len(dataset.database)}
    assert {stage["stage"]: stage["images"] for stage in record["stages"]} == {
        f"extract {side}{size}": count
        for size in ("", " of size 24")  # Those of 32 x 48 were there already.
        for side, count in sides.items()
    }
    assert all(stage["seconds"] > 0 and stage["peak_bytes"] > 2**20 for stage in record["stages"])


def test_images_of_stored_descriptors_cannot_be_resized(finished, town, tmp_path):
    np.save(tmp_path / "stored.npy", np.eye(2, dtype=np.float32))
    (tmp_path / "stored.txt").write_text("a\nb\n")
    models = (str(finished), str(tmp_path / "stored.npy"))
    with pytest.raises(ValueError, match="`image_sizes` needs models that images are resized for .*Received: stored"):
        evaluate.run(EvaluateConfig(models=models, root=str(town), output=str(tmp_path / "out"), image_sizes=("24",)))


def test_sizes_of_databases_are_checked_before_anything_is_extracted(finished, town, tmp_path):
    settings = {"models": (str(finished),), "root": str(town), "output": str(tmp_path / "out")}
    with pytest.raises(ValueError, match=r"`database_sizes` must be from .*, the number of positives, to .*=\(1,\)"):
        evaluate.run(EvaluateConfig(**settings, database_sizes=("1",)))
    assert not (tmp_path / "out" / "descriptors").exists()


def test_own_rules_are_flags(town):
    def rules(**settings):
        config = EvaluateConfig(models=("m.keras",), root=str(town), output="out", **settings)
        return chosen_protocol(config).description

    assert rules() == "within 25 m"
    assert rules(radius=5.0, heading=40.0) == "within 5 m and 40 degrees of heading"
    assert rules(frames=3) == "within 3 frames"
    assert rules(same_place=True, exclude=("photo",)) == "at the same place, excluding the query's own photo"
    assert rules(same_place=True, radius=25.0) == "within 25 m, at the same place"
    assert rules(protocol="nordland_1") == "within 1 frame"
