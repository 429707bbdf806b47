"""Settings of `trainers.retrieval_table`."""

import dataclasses

from keras_sare.utils.settings import ORIENTATIONS, setting
from trainers.config.reading import ReadingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableConfig(ReadingConfig):
    """A comparison of a run's models on a test set; see `keras_sare.evaluation.ComparisonSettings` for the numbers."""

    run: str = setting("", "Folder of a finished run of trainers.retrieval_sfm.", required=True)
    ground_truth: str = setting("", "gnd_*.json or .pkl, or a folder of *_query.txt.", required=True)
    images: str | None = setting(None, "Folder of the test set's images; by default images/ or jpg/ beside it.")
    distractors: str | None = setting(None, "Folder of images that join the database, such as the 100k of Flickr.")
    pca_images: str | None = setting(None, "Folder of images of other places, for PCA whitening.")
    output: str | None = setting(None, "Where the tables go; by default a folder in the run's.")
    longer_side: int = setting(1024, "Of the images, in pixels, at most.", least=32)
    scales: str = setting("single", "Scales that descriptors are extracted at.", choices=("single", "multi"))
    orientation: str | None = setting(
        None, "Photos upright or as stored; by default as the run read them.", choices=ORIENTATIONS
    )
    crop: str = setting("image", "What a query's box does.", choices=("image", "activations", "none"))
    rerank: int = setting(1000, "Images of a ranking to look at again; 0: none.", least=0)
    expand: int = setting(5, "Images that expand a query; 0: none.", least=0)
    diffusion_k: int = setting(0, "Neighbours in the graph of diffusion, 50 in the paper; 0: no diffusion.", least=0)
    diffusion_query_k: int = setting(10, "Images that a query is joined to in it.", least=1)
    batch: int = setting(4, "Images of one shape whose descriptors are extracted at a time.", least=1)
