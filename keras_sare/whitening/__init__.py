"""Whitening transforms fitted on arrays of descriptors, and a check of what they are fitted on."""

from keras_sare.whitening.fitted import FittedWhitening
from keras_sare.whitening.incremental import IncrementalPCAWhitening
from keras_sare.whitening.learned import fit_learned_whitening
from keras_sare.whitening.overlap import warn_of_overlap
from keras_sare.whitening.pca import fit_pca_whitening, largest_dimension, shrunk_variances
from keras_sare.whitening.spectrum import DimensionError

__all__ = [
    "DimensionError",
    "FittedWhitening",
    "IncrementalPCAWhitening",
    "fit_learned_whitening",
    "fit_pca_whitening",
    "largest_dimension",
    "shrunk_variances",
    "warn_of_overlap",
]
