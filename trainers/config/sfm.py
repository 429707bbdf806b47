"""Settings of `trainers.sfm`."""

import dataclasses

from keras_sare.reconstruction.reconstruction_settings import ReconstructionSettings
from keras_sare.utils.settings import setting
from trainers.config.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class SfMConfig(Config, ReconstructionSettings):
    """A reconstruction of a photo collection."""

    images: str = setting("", "Folder of JPEG and PNG files; it may have folders.", required=True)
    output: str = setting("", "Folder of the run; an earlier run's is gone on with.", required=True)
    labels: str | None = setting(None, "CSV with image, label (or building) [, share], to measure purity by.")
    max_corrupt_share: float = setting(0.01, "Share of unreadable photos at which the run stops.", least=0)

    def settings(self) -> ReconstructionSettings:
        """The numbers of the reconstruction.

        Raises:
            ValueError: one is out of range.
        """
        names = [field.name for field in dataclasses.fields(ReconstructionSettings)]
        return ReconstructionSettings(**{name: getattr(self, name) for name in names})
