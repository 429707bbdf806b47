"""Numbers of a comparison of retrieval models."""

import dataclasses
from typing import Any

from keras_sare.datasets.images.orientation import ORIENTATIONS
from keras_sare.extraction.landmark_descriptors import CROPS
from keras_sare.models.multi_scale import SCALES
from keras_sare.retrieval.expansion.diffusion import DiffusionSettings
from keras_sare.utils.arguments import plain_arguments

_OF_THE_MACHINE = ("batch_size", "memory_limit")


@plain_arguments
@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """How models are compared; the defaults are the papers'.

    Attributes:
        longer_side: most pixels of an image's longer side.
        scales: key of `keras_sare.models.multi_scale.SCALES`.
        crop: what a query's box does, see `describe_landmarks`; the same for re-ranking.
        dimensions: of whitening, at most; fewer where there are not enough images to learn from.
        rerank: images of a ranking that are looked at again; 0 for no re-ranking. Their boxes are described by R-MAC,
            whitened as the model's descriptors are, whatever the model pools by. Each different image takes about
            1.5 MB of disk, at a longer side of 1024, until the table is written.
        expand: of these, images that expand the query; 0 for no expansion.
        diffusion: of the row with diffusion; None for no such row. Numbers of neighbours beyond the database are cut.
        orientation: 'upright' or 'stored': how images are read, in whose pixels the boxes of queries are; see
            `keras_sare.datasets.decode_image`.
        batch_size: images of one shape that are described at a time.
        memory_limit: bytes of an array that is kept in memory, and of re-ranking.

    Raises:
        ValueError: a setting is out of range.
    """

    longer_side: int = 1024
    scales: str = "single"
    crop: str = "image"
    dimensions: int = 512
    rerank: int = 1000
    expand: int = 5
    diffusion: DiffusionSettings | None = None
    orientation: str = "upright"
    batch_size: int = 4
    memory_limit: float = 4e9

    def __post_init__(self) -> None:
        for name, known in (("scales", tuple(SCALES)), ("crop", CROPS), ("orientation", ORIENTATIONS)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` must be one of {known}. Received: {name}={getattr(self, name)!r}")
        for name, least in (("longer_side", 1), ("dimensions", 1), ("rerank", 0), ("expand", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={getattr(self, name)}")

    def record(self) -> dict[str, Any]:
        """What the results depend on, as JSON holds it: all but what the machine asks for."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _OF_THE_MACHINE}
