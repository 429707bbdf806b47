"""Settings of `trainers.extract`."""

import dataclasses

from keras_sare.utils.settings import ORIENTATIONS, setting
from trainers.config.reading import ReadingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractConfig(ReadingConfig):
    """An extraction of the descriptors of any number of photos."""

    model: str = setting(
        "", "A .keras file, the folder of a run, a SavedModel, a .tflite or .onnx file.", required=True
    )
    photos: str = setting(
        "",
        "A folder, a places.csv, Parquet manifests (NAME.parquet) or WebDataset tar files (NAME-{000..099}.tar); all "
        "but the csv also as addresses, such as s3://.",
        required=True,
    )
    output: str = setting("", "Folder of the place index; an earlier start's is gone on with.", required=True)
    image_size: tuple[str, ...] | None = setting(
        None, "height,width, the longer side, or shorter:PIXELS; by default as the model's record says."
    )
    orientation: str | None = setting(
        None, "Photos upright or as stored; by default as the model's record says, or upright.", choices=ORIENTATIONS
    )
    batch: int = setting(8, "Photos that are described at a time.", least=1)
    shard: int = setting(1_000_000, "Photos that are written together; a killed run loses one shard at most.", least=1)
    memory_gb: float = setting(2.0, "Gigabytes of photos that wait for the model.", least=0)
    readers: int = setting(8, "Threads that read and decode.", least=1)
    max_file_mb: int = setting(64, "Megabytes that a photo's file may have.", least=1)
    estimate: bool = setting(False, "Only say what it costs, as measured on the first photos.")

    def check(self) -> None:
        """Checks every setting by itself.

        Raises:
            ValueError: one is missing or out of range.
        """
        super().check()
        if self.max_corrupt_share > 1:
            raise ValueError(f"`max_corrupt_share` must be at most 1. Received: {self.max_corrupt_share:g}")
