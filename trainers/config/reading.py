"""Settings that all programs share that read images."""

import dataclasses

from keras_sare.utils.settings import setting
from trainers.config.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingConfig(Config):
    """Which image files are used, and how many may be left out."""

    max_corrupt_share: float = setting(0.01, "Share of unreadable images at which the program stops.", least=0)
    max_pixels: int | None = setting(
        None, "Most pixels, height times width, of an image file that is decoded; by default 128 million.", least=1
    )
