"""Settings of `trainers.demo`."""

import dataclasses

from keras_sare.utils.settings import setting
from trainers.config.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """The whole line on a rendered town, or on photos of your own."""

    output: str = setting("demo", "Folder for everything that the demo makes.")
    data: str | None = setting(None, "Your own photographs; by default a rendered town.")
    weights: str = setting("imagenet", "'imagenet', a weights file, or a .keras model of your own.")
    preprocessing: str | None = setting(
        None, "What the weights want, where that is not known.", choices=("caffe", "torch")
    )
    image_size: str | None = setting(None, "height,width instead of the demo's own.")
    epochs: int | None = setting(None, "Epochs instead of the demo's own.", least=0)
    min_positive: float | None = setting(None, "Metres instead of those of trainers.pitts.")
    positive_radius: float | None = setting(None, "Metres instead of those of trainers.pitts.")
    negative_radius: float | None = setting(None, "Metres instead of those of trainers.pitts.")
    seed: int = setting(0, "Random seed of the town and of the training.")
