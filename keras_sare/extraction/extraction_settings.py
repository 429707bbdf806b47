"""Numbers that the extraction of descriptors depends on."""

import dataclasses

from keras_sare.extraction.landmark_descriptors import CROPS
from keras_sare.models.multi_scale import SCALES
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.settings import ORIENTATIONS, check_settings, setting


@plain_arguments
@dataclasses.dataclass(frozen=True)
class ExtractionSettings:
    """How descriptors of images are extracted; the defaults are those of the image-retrieval papers.

    Attributes:
        longer_side: most pixels of an image's longer side.
        scales: key of `keras_sare.models.multi_scale.SCALES`.
        crop: what a query's box does, see `extract_landmarks`; the same for re-ranking.
        orientation: 'upright' or 'stored': how images are read, in whose pixels the boxes of queries are; see
            `keras_sare.datasets.decode_image`.
        batch_size: images of one shape that are extracted at a time.
        memory_limit: bytes of an array in memory.

    Raises:
        ValueError: a setting is out of range.
    """

    longer_side: int = setting(1024, "", least=1)
    scales: str = setting("single", "", choices=SCALES)
    crop: str = setting("image", "", choices=CROPS)
    orientation: str = setting("upright", "", choices=ORIENTATIONS)
    batch_size: int = setting(4, "", least=1)
    memory_limit: float = 4e9

    def __post_init__(self) -> None:
        check_settings(self)
