import pytest

from keras_sare.evaluation.model_names import common_name, kept_name


def test_epoch_0_is_called_untrained():
    assert [kept_name(epoch) for epoch in (0, 1, 30)] == ["untrained (epoch 0)", "trained", "trained"]
    assert kept_name(2, "fine-tuned") == "fine-tuned"


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("trained", "kept epoch"),
        ("untrained (epoch 0)", "kept epoch"),
        ("trained, whitened to 8-D", "kept epoch, whitened to 8-D"),
        ("untrained (epoch 0), whitened to 8-D", "kept epoch, whitened to 8-D"),
        ("off the shelf", "off the shelf"),
    ],
)
def test_models_of_runs_that_kept_a_trained_epoch_and_of_others_have_a_name_in_common(name, common):
    assert common_name(name) == common
