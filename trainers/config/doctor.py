"""Settings of `trainers.doctor`."""

import dataclasses

from keras_sare.utils.settings import setting
from trainers.config.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Config):
    """An examination of a data set."""

    root: str = setting("", "Dataset, as the other programs take it.", required=True)
    prefix: str = setting("", "Start of the .mat files' names, where --root holds several datasets.")
    radius: float = setting(25.0, "Metres within which a database image is right.", least=0)
    decode: bool = setting(True, "Decode every photo; --nodecode looks at lists and names of files alone.")
    output: str = setting("", "Folder of doctor.json; none is written without it.")
    cache: str = setting("", "Folder that remembers what was decoded; by default --root, where it can be written.")
    max_pixels: int | None = setting(
        None, "Most pixels, height times width, of an image file that is decoded; by default 128 million.", least=1
    )
