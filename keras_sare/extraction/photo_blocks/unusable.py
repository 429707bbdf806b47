"""Why a photo has no descriptor."""


class UnusablePhotoError(ValueError):
    """A photo cannot be used; the text says why, in a few words."""
