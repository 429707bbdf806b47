"""Numbers of a reconstruction."""

from dataclasses import dataclass

from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.settings import ORIENTATIONS, check_settings, setting


@plain_arguments
@dataclass(frozen=True)
class ReconstructionSettings:
    """How photos are reconstructed.

    Attributes:
        max_image_size: larger photos are scaled down until no side exceeds so many pixels.
        max_features: SIFT features of a photo.
        exhaustive_images: up to so many photos every one is matched with every other; beyond, with those most similar.
            500 photos are 125 thousand pairs, half an hour on two processor cores.
        neighbours: so many of those most similar. Which they are may differ from run to run where several are about
            as similar: threads add up the visual words.
        min_model_size: smallest model that is kept. 3 is the least in which a third photo confirms what two agree on;
            the models of the paper have hundreds of photos.
        mapping_threads: of the mapping. With 1 the same photos give the same models; -1, all processor cores, is faster
            for models of thousands of photos, and each run differs in the last digits.
        seed: random seed.
        orientation: "upright": features are those of the photos as viewers show them, so that a model's photos stand
            as their photographers did, and mirrored ones match; "stored": of the pixels as they are stored, as COLMAP
            itself takes them.
    """

    max_image_size: int = setting(1600, "Longer side at which features are computed.", least=1)
    max_features: int = setting(8192, "Features of a photo.", least=1)
    exhaustive_images: int = setting(500, "Up to so many photos, all pairs are matched.", least=0)
    neighbours: int = setting(100, "Beyond, each photo is matched with so many similar ones.", least=1)
    min_model_size: int = setting(3, "Smallest model that is kept.", least=2)
    mapping_threads: int = setting(1, "1: repeatable; -1: all, for thousands of photos.")
    seed: int = setting(0, "Random seed.")
    orientation: str = setting("upright", "Photos as viewers show them, or as stored.", choices=ORIENTATIONS)

    def __post_init__(self) -> None:
        check_settings(self)
