"""Settings of `trainers.retrieval_sfm`."""

import dataclasses
from pathlib import Path
from typing import Any

from keras_sare.training.settings.sfm_settings import SfMSettings
from keras_sare.utils.settings import setting
from trainers.config.training import TrainingConfig

NOT_OF_TRAINING = frozenset({"ground_truth", "test_images", "pca_images"})
"""Settings that a resumed run may have otherwise: the table is made when the model is finished."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalConfig(TrainingConfig, SfMSettings):
    """A training on 3D models of photos; the defaults are the paper's.

    See `SfMSettings` for what the numbers of the training mean.
    """

    recipe: str = setting(
        "retrieval_sfm", "Values of the settings that are not given.", choices=("retrieval_sfm", "few_photos")
    )
    dataset: str = setting("", "sfm.npz of trainers.sfm, or a published retrieval-SfM .pkl.", required=True)
    images: str | None = setting(None, "Folder of the images, for a published .pkl.")
    leave_out: str | None = setting(
        None, "Text file, an image name a line: no 3D model with one of them is trained on."
    )
    val_share: float = setting(0.2, "Share of the photos for validation, whole clusters; a .pkl has its own.")
    model: str = setting("vgg16_mac", "Backbone and pooling: vgg16_mac, vgg16_gem, resnet101_gem, ...")
    train_from: str = setting("conv1_1", "First layer that is trained.")
    longer_side: int = setting(362, "Of the photos in training, in pixels, at most.", least=32)
    loss: str = setting("contrastive", "Loss over tuples: contrastive, triplet, sare_joint, ...")
    tau: float = setting(0.7, "Margin of the contrastive loss; 0.75 was published for GeM.")
    positive: str = setting("", "Rule of positives: m1, m2, m3 or pairs; by default m3, or the pairs of a .pkl.")
    queries_per_epoch: int | None = setting(
        0,
        "Random queries of an epoch, at most; 0: all, as the paper's MATLAB code. Its PyTorch code takes 2000.",
        least=0,
    )
    jit_compile: bool = False
    whitening: str = setting(
        "auto",
        "Saved model: with whitening if validation is no worse, without, or always with.",
        choices=("auto", "none", "learned"),
    )
    whitening_side: int = setting(
        1024, "Longer side of the photos that whitening is learned from and chosen by.", least=32
    )
    dim: int = setting(512, "Dimension after learned whitening, at most.", least=1)
    ground_truth: str | None = setting(None, "Test set: gnd_*.json or .pkl, or a folder of *_query.txt files.")
    test_images: str | None = setting(None, "Folder of the test set's images.")
    pca_images: str | None = setting(None, "Folder of images of other places, for PCA whitening in the table.")

    @property
    def is_published(self) -> bool:
        """Whether the dataset is a published list, which has pairs and splits of its own, and not `sfm.npz`."""
        return Path(self.dataset).suffix == ".pkl"

    def settings(self) -> SfMSettings:
        """The numbers of the training.

        Raises:
            ValueError: one is out of range.
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(SfMSettings)}
        values |= {"positive": self._positive, "queries_per_epoch": self.queries_per_epoch or None}
        return SfMSettings(**values)

    def recorded(self) -> dict[str, Any]:
        """As `run.json` holds them, without what a resumed run may have otherwise."""
        chosen = super().recorded() | {"positive": self._positive}
        return {name: value for name, value in chosen.items() if name not in NOT_OF_TRAINING}

    @property
    def _positive(self) -> str:
        return self.positive or ("pairs" if self.is_published else "m3")
