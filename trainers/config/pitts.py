"""Settings of `trainers.pitts`."""

import dataclasses
from typing import Any

from keras_sare.training.settings.place_settings import PlaceSettings
from keras_sare.utils.settings import setting
from trainers.config.training import TrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PittsConfig(TrainingConfig, PlaceSettings):
    """A training on places; the defaults are the papers' for Pitts30k.

    See `PlaceSettings` for what the numbers of the training mean.
    """

    recipe: str = setting(
        "pitts30k",
        "Values of the settings that are not given.",
        choices=("pitts30k", "demo", "few_photos", "streets", "phone"),
    )
    root: str = setting("", "Dataset: datasets/*.mat or places.csv, images/, queries/.", required=True)
    prefix: str = setting("", "Start of the .mat files' names, where --root holds several datasets.")
    model: str = setting("vgg16_netvlad", "Preset to build, one of keras_sare.models.list_presets().")
    clusters: int = setting(64, "NetVLAD clusters.", least=2)
    train_from: str = setting("conv5_1", "First layer that is trained; ResNet: conv5_block1_1_conv.")
    image_size: tuple[int, int] = setting((480, 640), "height,width that images are resized to.")
    loss: str = setting("sare_independent", "Loss over tuples: sare_joint, triplet, contrastive, ...")
    kernel: str = setting("gaussian", "Kernel of SARE.", choices=("gaussian", "cauchy", "exponential"))
    temperature: float | None = setting(
        None, "Of SARE and InfoNCE: the smaller, the more the hardest negatives count; by default the loss's own."
    )
    other_timestamps: bool | None = setting(
        None, "Positives have another timestamp than the query; by default TokyoTM's."
    )
    augment: tuple[str, ...] = setting(
        (), "Random changes, such as brightness=0.2,scale=0.1: the fields of keras_sare.datasets.Augmentation."
    )
    whitening: str = setting(
        "auto",
        "Fewer dimensions: if and how validation says, always and how it says, never, or always by PCA whitening.",
        choices=("auto", "reduce", "none", "pca"),
    )
    dim: int = setting(
        4096, "Dimension after whitening; with --whitening=auto or reduce at most, validation may choose less.", least=1
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", _image_size(self.image_size))
        object.__setattr__(self, "augment", tuple(self.augment))

    def settings(self) -> PlaceSettings:
        """The numbers of the training.

        Raises:
            ValueError: one is out of range, or two do not go together.
        """
        return PlaceSettings(**{field.name: getattr(self, field.name) for field in dataclasses.fields(PlaceSettings)})

    def recorded(self) -> dict[str, Any]:
        """As `run.json` holds them."""
        return super().recorded() | {"image_size": list(map(str, self.image_size)), "augment": list(self.augment)}


def _image_size(given: Any) -> tuple[int, int]:
    sides = [str(side) for side in given]
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise ValueError(
            "`image_size` must be height,width in pixels, for example --image_size=480,640. "
            f"Received: image_size={','.join(sides)}"
        )
    height, width = map(int, sides)
    return height, width
