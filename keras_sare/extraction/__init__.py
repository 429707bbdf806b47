"""Photos to descriptors: batches of any images through a model, on all replicas and workers."""

from keras_sare.extraction.activation_maps import ActivationMaps, write_activation_maps
from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.inputs import ImageInputs, StoredInputs
from keras_sare.extraction.landmark_descriptors import extract_images, extract_landmarks

__all__ = [
    "ActivationMaps",
    "BucketedInputs",
    "Extractor",
    "Extractor",
    "ImageInputs",
    "StoredInputs",
    "extract_images",
    "extract_landmarks",
    "write_activation_maps",
]
