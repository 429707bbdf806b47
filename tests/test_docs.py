"""The table of methods names what there is."""

import importlib
import re
from pathlib import Path

import pytest

from keras_sare import losses
from keras_sare.models import BACKBONES, POOLINGS

METHODS = (Path(__file__).parents[1] / "docs" / "methods.md").read_text()


@pytest.mark.parametrize("package", ["layers", "losses", "retrieval", "whitening"])
def test_every_public_method_stands_in_the_table(package):
    module = importlib.import_module(f"keras_sare.{package}")
    # What is no method: helpers, bases and the preparation of images.
    helpers = {"l2_normalize", "region_grid", "ImagePreprocessing", "TupleLoss", "contrastive", "sare", "triplet"}
    helpers |= {"LOSSES", "LossEntry", "get"}
    helpers |= {"DimensionError", "FittedWhitening", "largest_dimension", "warn_of_overlap", "Whitening"}
    helpers |= {"DiffusionSettings", "IntegralVolume", "QueryObjects", "Reranking", "nearest", "quantise_activations"}
    missing = [name for name in module.__all__ if name not in helpers and f"`{name}" not in METHODS]
    assert missing == []


def test_every_backbone_stands_in_the_table_and_every_pooling_is_a_layer_of_it():
    assert [name for name in BACKBONES if f"`{name}`" not in METHODS] == []
    assert [layer.__name__ for layer in POOLINGS.values() if f"`{layer.__name__}(" not in METHODS] == []


def test_every_loss_of_the_table_can_be_made_as_it_is_written():
    written = re.findall(r"`(\w+Loss\([^`]*\))`", METHODS)
    assert len(written) >= 6
    for expression in written:
        assert isinstance(eval(expression, vars(losses)), losses.TupleLoss)
