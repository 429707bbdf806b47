"""What a model looks at, as pictures."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_sare.evaluation.html.overlays import LookedAt, glow, overlay
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


def test_glow_is_brightest_where_the_greatest_value_is_and_transparent_where_none_is_above_zero():
    values = np.array([[0, -1, 0.5], [1, 0, 0]])
    shown = np.asarray(glow(values, (30, 20)))
    assert shown.shape == (20, 30, 4)
    assert np.unravel_index(shown[..., 3].argmax(), (20, 30)) == pytest.approx((16, 3), abs=4)
    assert shown[4, 14, 3] < 10
    assert not np.asarray(glow(np.full((2, 3), -1.0), (30, 20)))[..., 3].any()
