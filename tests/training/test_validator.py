import dataclasses

import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.training import Places, StoredInputs, TrainingSettings
from keras_sare.training.validator import Validator


class Same:
    """Describes an image by what it is fed."""

    output_shape = (2,)

    def __call__(self, inputs, ids, batch_size, out, description):
        out[:] = inputs.array[ids]
        return out


def places(name, database, queries, easting, folder):
    """Descriptors on the unit circle by angle; database image i stands at (easting + 100 i, 0), and so does query i."""
    angles = np.radians([*database, *queries])
    descriptors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("float32")
    sides = [
        ImageSet(
            [f"{name}_{role}_{i}" for i in range(len(of))],
            np.array([[easting + 100.0 * i, 0.0] for i in range(len(of))]),
        )
        for role, of in (("database", database), ("query", queries))
    ]
    return Places(PlaceDataset(name, *sides), StoredInputs(descriptors), TrainingSettings(), folder, stored=True)


@pytest.fixture
def validation(tmp_path):
    return places("val", [0, 90, 180], [10, 80, 120], 0, tmp_path)


def test_recall_is_that_of_the_queries_in_the_database(validation):
    report = Validator(validation, Same(), radius=25)()
    # 10 degrees is nearest to 0, 80 to 90, and 120 to 90 instead of 180.
    assert report.at(1) == pytest.approx(2 / 3)
    assert (report.database, report.protocol) == (3, "recall@N within 25 m")


def test_distractors_are_searched_too(validation, tmp_path):
    train = places("train", [11, 200], [0], 5000, tmp_path)
    report = Validator(validation, Same(), 25, distractors=(train, Same()))()
    assert report.at(1) == pytest.approx(1 / 3)
    assert report.at(2) == 1
    assert (report.database, report.protocol) == (5, "recall@N within 25 m, with 2 distractors")


def test_distractor_at_the_place_of_a_query_is_no_mistake(validation, tmp_path):
    train = places("train", [11], [0], 3, tmp_path)
    assert Validator(validation, Same(), 25, distractors=(train, Same()))().at(1) == pytest.approx(2 / 3)


def test_descriptors_beyond_the_memory_limit_go_to_a_file(validation, tmp_path):
    small = dataclasses.replace(validation, settings=TrainingSettings(memory_limit=10))
    train = places("train", [11], [0], 3, tmp_path)
    expected = Validator(validation, Same(), 25, distractors=(train, Same()))()
    assert Validator(small, Same(), 25, distractors=(train, Same()))() == expected
