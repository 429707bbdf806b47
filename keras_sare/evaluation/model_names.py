"""What the models of a training run are called in tables."""

UNTRAINED = "untrained (epoch 0)"
TRAINED = "trained"


def kept_name(epoch: int, trained: str = TRAINED) -> str:
    """What the model of a kept epoch is called; that before training, `untrained (epoch 0)`.

    Args:
        epoch: that was kept, 0 before training.
        trained: what it is called after any other epoch.
    """
    return trained if epoch else UNTRAINED
