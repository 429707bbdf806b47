"""TODO."""

from keras_sare.reconstruction.reconstruct import ReconstructionSettings, reconstruct

__all__ = [
    "ReconstructionSettings",
    "reconstruct",
]
