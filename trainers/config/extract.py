"""Settings of `trainers.extract`."""

import dataclasses

from keras_sare.utils.settings import ORIENTATIONS, setting
from trainers.config.reading import ReadingConfig

ENGINES = ("local", "ray")


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
    engine: str = setting("local", "local: this process; ray: actors on a cluster.", choices=ENGINES)
    address: str | None = setting(None, "Of a Ray cluster; without it Ray is started on this machine.")
    workers: int | None = setting(None, "Ray actors; by default as many as the cluster has room for.", least=1)
    cpus_per_worker: int | None = setting(
        None,
        "Processor cores that each worker computes with, on which the last bits of descriptors depend; by default all "
        "of this machine, or one of a cluster's.",
        least=1,
    )
    gpus_per_worker: float = setting(0.0, "GPUs of each; 0.5 lets two share one.", least=0)
    image_size: tuple[str, ...] | None = setting(
        None, "height,width, the longer side, or shorter:PIXELS; by default as the model's record says."
    )
    orientation: str | None = setting(
        None, "Photos upright or as stored; by default as the model's record says, or upright.", choices=ORIENTATIONS
    )
    batch: int = setting(8, "Photos that a worker describes at a time.", least=1)
    shard: int = setting(1_000_000, "Photos that are written together; a killed run loses one shard at most.", least=1)
    memory_gb: float = setting(2.0, "Gigabytes of photos that wait for the model, for each worker.", least=0)
    readers: int = setting(8, "Threads that read and decode, of each worker.", least=1)
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
        of_ray = [name for name in ("address", "workers", "gpus_per_worker") if name in self.given]
        if of_ray and self.engine != "ray":
            raise ValueError(f"`{of_ray[0]}` must come with --engine=ray. Received: --engine={self.engine}")
