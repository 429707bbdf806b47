"""Whether tuples divide over replicas."""

from keras_sare.training.settings.training_settings import TrainingSettings


def check_replicas(settings: TrainingSettings, replicas: int) -> None:
    """Checks that the tuples of a step divide over the replicas of a strategy.

    Raises:
        ValueError: they do not.
    """
    if settings.tuples_per_step % replicas:
        raise ValueError(
            f"`tuples_per_step` must be a multiple of the number of replicas, {replicas}. "
            f"Received: tuples_per_step={settings.tuples_per_step}"
        )
