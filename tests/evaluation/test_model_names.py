from keras_sare.evaluation.model_names import kept_name


def test_epoch_0_is_called_untrained():
    assert [kept_name(epoch) for epoch in (0, 1, 30)] == ["untrained (epoch 0)", "trained", "trained"]
    assert kept_name(2, "fine-tuned") == "fine-tuned"
