"""Structure from motion: 3D models of a photo collection, with COLMAP. Names are loaded at their first use."""

from typing import TYPE_CHECKING

from keras_sare.utils.lazy_names import lazy_names

if TYPE_CHECKING:
    from keras_sare.reconstruction.reconstruct import reconstruct as reconstruct
    from keras_sare.reconstruction.reconstruction_settings import ReconstructionSettings as ReconstructionSettings

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "ReconstructionSettings": "keras_sare.reconstruction.reconstruction_settings",
        "reconstruct": "keras_sare.reconstruction.reconstruct",
    },
)
