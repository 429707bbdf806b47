"""Numbers of a comparison of retrieval models."""

import dataclasses
from typing import Any

from keras_sare.extraction.extraction_settings import ExtractionSettings
from keras_sare.retrieval.expansion.diffusion import DiffusionSettings
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.settings import setting

_OF_THE_MACHINE = ("batch_size", "memory_limit")


@plain_arguments
@dataclasses.dataclass(frozen=True)
class ComparisonSettings(ExtractionSettings):
    """How models are compared; the defaults are the papers'. `memory_limit` is that of re-ranking too.

    Attributes:
        dimensions: of whitening, at most; fewer where there are not enough images to learn from.
        rerank: images of a ranking that are re-ranked; 0 for no re-ranking. Descriptors of their boxes are R-MAC,
            whitened as the model's descriptors are, whatever the model pools by. Each different image takes about
            1.5 MB of disk, at a longer side of 1024, until the table is written.
        expand: of these, images that expand the query; 0 for no expansion.
        diffusion: of the row with diffusion; None for no such row. Numbers of neighbours beyond the database are cut.

    Raises:
        ValueError: a setting is out of range.
    """

    dimensions: int = setting(512, "", least=1)
    rerank: int = setting(1000, "", least=0)
    expand: int = setting(5, "", least=0)
    diffusion: DiffusionSettings | None = None

    def record(self) -> dict[str, Any]:
        """What the results depend on, as JSON holds it: all but the limits of the machine."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in _OF_THE_MACHINE}
