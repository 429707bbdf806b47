"""Whitening transforms fitted on arrays of descriptors."""

from keras_sare.whitening.pca import PCAWhitening, fit_pca_whitening, largest_dimension

__all__ = ["PCAWhitening", "fit_pca_whitening", "largest_dimension"]
