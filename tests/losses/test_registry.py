"""Losses by name, and older names of scales."""

import keras
import pytest

from keras_sare.losses import LOSSES, ContrastiveLoss, SARELoss, TripletLoss, get
from keras_sare.losses.registry import register


def test_losses_are_made_by_name_with_the_entrys_arguments_unless_others_are_given() -> None:
    made = get("sare_joint", kernel="cauchy", scale="divide_by_pairs")
    assert made.get_config() == SARELoss("cauchy", "joint", scale="divide_by_pairs").get_config()
    assert get("sare_independent").get_config() == SARELoss().get_config()
    assert get("sare_independent", mode="joint").get_config() == SARELoss(mode="joint").get_config()
    assert get("contrastive").get_config() == ContrastiveLoss().get_config()


def test_every_entry_makes_its_class_at_every_published_scale() -> None:
    for name, entry in LOSSES.items():
        assert name == entry.name
        assert type(get(name)) is entry.loss
        assert "places" in entry.published
        for scale in entry.published.values():
            assert get(name, scale=scale).scale == scale


def test_published_scales_are_those_of_the_papers_code() -> None:
    published = {name: dict(entry.published) for name, entry in LOSSES.items()}
    deepibl = {"places": "divide_by_negatives", "retrieval": "divide_by_negatives"}
    assert published["sare_independent"] == published["sare_joint"] == deepibl
    assert published["triplet"] == {"places": "divide_by_violators", "retrieval": "divide_by_pairs"}
    assert published["contrastive"] == {"places": "tuple", "retrieval": "divide_by_pairs"}


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="`name` must be one of contrastive, .*. Received: name='sare'") as error:
        get("sare")
    assert "\n" not in str(error.value)
    assert all(name in str(error.value) for name in LOSSES)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="`name` must be a new one; TripletLoss has it. Received: name='triplet'"):
        register("triplet", published={"places": "tuple"})(ContrastiveLoss)
    assert LOSSES["triplet"].loss is TripletLoss


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("deepibl", "divide_by_negatives"),
        ("cnnimageretrieval", "divide_by_pairs"),
        ("netvlad", "divide_by_violators"),
    ],
)
def test_an_older_name_of_a_scale_still_works_with_a_warning(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"scale='{old}' is now called '{new}'") as warned:
        loss = TripletLoss(scale=old)
    assert warned[0].filename == __file__
    assert loss.get_config() == TripletLoss(scale=new).get_config()
    saved = keras.saving.serialize_keras_object(loss)
    saved["config"]["scale"] = old
    with pytest.warns(DeprecationWarning, match=old):
        loaded = keras.saving.deserialize_keras_object(saved)
    assert loaded.get_config() == loss.get_config()
