import pytest

from keras_sare.losses import ContrastiveLoss, SARELoss, TripletLoss
from trainers.config.recipes import RECIPES, RETRIEVAL_RECIPES
from trainers.stages.losses import PLACE_SCALES, RETRIEVAL_SCALES, place_losses, retrieval_losses, scale_of


@pytest.mark.parametrize(
    ("losses", "published", "name", "expected"),
    [
        (place_losses, PLACE_SCALES, "sare_independent", SARELoss(scale="divide_by_negatives")),
        (place_losses, PLACE_SCALES, "sare_joint", SARELoss(mode="joint", scale="divide_by_negatives")),
        (place_losses, PLACE_SCALES, "triplet", TripletLoss(scale="divide_by_violators")),
        (place_losses, PLACE_SCALES, "contrastive", ContrastiveLoss()),
        (retrieval_losses, RETRIEVAL_SCALES, "sare_joint", SARELoss(mode="joint", scale="divide_by_negatives")),
        (retrieval_losses, RETRIEVAL_SCALES, "triplet", TripletLoss(scale="divide_by_pairs")),
        (retrieval_losses, RETRIEVAL_SCALES, "contrastive", ContrastiveLoss(scale="divide_by_pairs")),
    ],
)
def test_published_scale_is_that_of_the_code_that_the_program_follows(losses, published, name, expected):
    made = losses()[name](scale_of(name, "published", published))
    assert (type(made), made.get_config()) == (type(expected), expected.get_config())
    assert losses()[name](scale_of(name, "tuple", published)).scale == "tuple"


def test_every_loss_is_made_with_its_published_scale():
    for losses, published in ((place_losses(), PLACE_SCALES), (retrieval_losses(), RETRIEVAL_SCALES)):
        assert published.keys() == losses.keys()
        for name, make in losses.items():
            assert make(scale_of(name, "published", published)).reduction == "sum_over_batch_size"


def test_flags_of_one_loss_reach_that_loss_alone():
    assert place_losses("cauchy")["sare_joint"]("tuple").kernel == "cauchy"


def test_temperature_is_that_of_sare_and_info_nce_and_their_own_where_none_is_given():
    chosen = place_losses("gaussian", 0.2)
    assert [chosen[name]("tuple").temperature for name in ("sare_independent", "sare_joint", "info_nce")] == [0.2] * 3
    assert [place_losses()[name]("tuple").temperature for name in ("sare_joint", "info_nce")] == [None, 0.07]
    assert not hasattr(chosen["triplet"]("tuple"), "temperature")
    assert retrieval_losses(0.75)["contrastive"]("tuple").margin == 0.75
    assert retrieval_losses(0.75)["triplet"]("tuple").margin == 0.1


@pytest.mark.parametrize(("recipes", "published"), [(RECIPES, "pitts30k"), (RETRIEVAL_RECIPES, "retrieval_sfm")])
def test_recipes_that_train_by_adam_take_the_mean_over_tuples(recipes, published):
    scales = {name: values.loss_scale for name, values in recipes.items()}
    by_adam = {name: "tuple" for name, values in recipes.items() if values.optimizer == "adam"}
    assert scales == {**dict.fromkeys(recipes, "published"), **by_adam}
    assert published not in by_adam
