"""Structure from motion: 3D models of a photo collection, with COLMAP."""

from keras_sare.reconstruction.reconstruct import ReconstructionSettings, reconstruct

__all__ = [
    "ReconstructionSettings",
    "reconstruct",
]
