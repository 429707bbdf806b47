import pytest

from keras_sare.losses import ContrastiveLoss, SARELoss, TripletLoss
from trainers.losses import PLACE_SCALES, RETRIEVAL_SCALES, place_losses, retrieval_losses, scale_of
from trainers.recipes import RECIPES, RETRIEVAL_RECIPES


@pytest.mark.parametrize(
    ("losses", "published", "name", "expected"),
    [
        (place_losses, PLACE_SCALES, "sare_independent", SARELoss(scale="deepibl")),
        (place_losses, PLACE_SCALES, "sare_joint", SARELoss(mode="joint", scale="deepibl")),
        (place_losses, PLACE_SCALES, "triplet", TripletLoss(scale="netvlad")),
        (place_losses, PLACE_SCALES, "contrastive", ContrastiveLoss()),
        (retrieval_losses, RETRIEVAL_SCALES, "sare_joint", SARELoss(mode="joint", scale="deepibl")),
        (retrieval_losses, RETRIEVAL_SCALES, "triplet", TripletLoss(scale="cnnimageretrieval")),
        (retrieval_losses, RETRIEVAL_SCALES, "contrastive", ContrastiveLoss(scale="cnnimageretrieval")),
    ],
)
def test_published_scale_is_that_of_the_code_that_the_program_follows(losses, published, name, expected):
    made = losses()[name](scale_of(name, "published", published))
    assert (type(made), made.get_config()) == (type(expected), expected.get_config())
    assert losses()[name](scale_of(name, "tuple", published)).scale == "tuple"


def test_every_loss_is_made_with_its_published_scale():
    for losses, published in ((place_losses(), PLACE_SCALES), (retrieval_losses(), RETRIEVAL_SCALES)):
        assert published.keys() <= losses.keys()
        for name, make in losses.items():
            assert make(scale_of(name, "published", published)).reduction == "sum_over_batch_size"


@pytest.mark.parametrize(("recipes", "published"), [(RECIPES, "pitts30k"), (RETRIEVAL_RECIPES, "retrieval_sfm")])
def test_recipes_that_train_by_adam_take_the_mean_over_tuples(recipes, published):
    scales = {name: values.get("loss_scale", "published") for name, values in recipes.items()}
    by_adam = {name: "tuple" for name, values in recipes.items() if values.get("optimizer") == "adam"}
    assert scales == {**dict.fromkeys(recipes, "published"), **by_adam}
    assert published not in by_adam
