"""Photos to descriptors: batches of any images through a model, on all replicas and workers.

* `extract(model, images)`: a folder, files or pixels, in one call.
* `Extractor`: the same for batches, in a distributed run, and into an array of one's own.
* `extract_landmarks`, `extract_images`: with the scales and crops of the image-retrieval papers.
* `ImageInputs`, `StoredInputs`, `BucketedInputs`: what an extractor reads, by image id.
* `ActivationMaps`, `write_activation_maps`: feature maps on the disk, for re-ranking.
"""

from keras_sare.extraction.activation_maps import ActivationMaps, write_activation_maps
from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.extraction.descriptors import extract
from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.inputs import ImageInputs, StoredInputs
from keras_sare.extraction.landmark_descriptors import extract_images, extract_landmarks

__all__ = [
    "ActivationMaps",
    "BucketedInputs",
    "Extractor",
    "ImageInputs",
    "StoredInputs",
    "extract",
    "extract_images",
    "extract_landmarks",
    "write_activation_maps",
]
