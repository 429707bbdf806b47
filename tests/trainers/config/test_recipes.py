import pytest

from keras_sare.models import build, split
from trainers.config.recipes import RECIPES


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_trains_its_model_from_a_layer_that_all_of_it_passes_through(recipe):
    values = RECIPES[recipe]
    model = build(values.model, weights=None, clusters=values.clusters)
    trunk, head = split(model, values.train_from)
    assert trunk.output.shape == head.input.shape
    assert values.dim <= head.output.shape[-1]
    assert head.trainable_weights


def test_model_of_the_recipe_for_phones_fits_12_megabytes():
    recipe = RECIPES["phone"]
    model = build(recipe.model, weights=None, clusters=recipe.clusters)
    channels = model.output.shape[-1]
    assert 4 * (model.count_params() + channels * (recipe.dim + 1) + recipe.dim) < 12e6
