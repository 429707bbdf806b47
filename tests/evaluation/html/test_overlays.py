"""What a model looks at, as pictures."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation.html.overlays import LookedAt, overlay
from keras_sare.layers import MAC, NetVLAD


@pytest.mark.parametrize(("pooling", "what"), [(MAC(), "MAC's maximal patches"), (NetVLAD(2), "NetVLAD's clusters")])
def test_query_and_match_are_shown_with_all_that_the_model_has(tmp_path, pooling, what):
    for name, shade in (("query", 40), ("match", 160)):
        Image.new("RGB", (96, 64), (shade, 90, 30)).save(tmp_path / f"{name}.png")
    images = keras.Input((None, None, 3))
    model = keras.Model(images, pooling(keras.layers.AveragePooling2D(8)(images)))
    pictures = LookedAt(model, longer_side=48)(str(tmp_path / "query.png"), str(tmp_path / "match.png"))
    assert len(pictures) == 6
    assert {f"{what}, query", f"{what}, match"} < pictures.keys()
    assert {picture.size for picture in pictures.values()} == {(48, 32)}


def test_greatest_value_is_brightest_in_its_own_place():
    values = np.zeros((4, 6))
    values[1, 5] = 3
    values[3, 0] = -9
    shown = np.asarray(overlay(Image.new("RGB", (60, 40)), values)).sum(axis=2)
    assert np.unravel_index(shown.argmax(), shown.shape) == pytest.approx((15, 58), abs=5)
    assert shown[35, 2] == shown[5, 20]
