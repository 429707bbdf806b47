"""What the models of a training run are called in tables."""

UNTRAINED = "untrained (epoch 0)"
TRAINED = "trained"
KEPT = "kept epoch"


def kept_name(epoch: int, trained: str = TRAINED) -> str:
    """What the model of a kept epoch is called; that before training, `untrained (epoch 0)`.

    Args:
        epoch: that was kept, 0 before training.
        trained: what it is called after any other epoch.
    """
    return trained if epoch else UNTRAINED


def common_name(name: str) -> str:
    """What a model is called among those of several runs, of which only some have kept a trained epoch.

    Args:
        name: of a model in one run, which may begin as `kept_name` says.
    """
    own = next((start for start in (UNTRAINED, TRAINED) if name.startswith(start)), None)
    return name if own is None else KEPT + name[len(own) :]
