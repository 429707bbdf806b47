"""Photos to descriptors: batches of any images through a model, on all replicas and workers."""

from keras_sare.extraction.activation_maps import ActivationMaps, write_activation_maps
from keras_sare.extraction.bucketed_inputs import BucketedInputs
from keras_sare.extraction.distributed_extractor import Describer
from keras_sare.extraction.extractor import Extractor
from keras_sare.extraction.inputs import ImageInputs, StoredInputs
from keras_sare.extraction.landmark_descriptors import describe_images, describe_landmarks

__all__ = [
    "ActivationMaps",
    "BucketedInputs",
    "Describer",
    "Extractor",
    "ImageInputs",
    "StoredInputs",
    "describe_images",
    "describe_landmarks",
    "write_activation_maps",
]
