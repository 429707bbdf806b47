"""Settings that all programs share that train."""

import dataclasses
from typing import Any

from keras_sare.utils.settings import PRECISIONS, setting
from trainers.config.reading import ReadingConfig

NOT_RECORDED = frozenset({"output", "resume", "store"})
"""Settings that say where and whether a run goes on, not what it computes."""

OF_THE_FILE = ("model", "clusters", "preprocessing")
"""Settings that a whole model, a `.keras` file, takes the place of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(ReadingConfig):
    """What `PittsConfig` and `RetrievalConfig` share."""

    output: str = setting("", "Folder of the run; new, or an earlier run's with --resume.", required=True)
    weights: str = setting("imagenet", "'imagenet', a weights file, or a model of your own: a .keras file.")
    preprocessing: str | None = setting(None, "What the weights want, where not known, such as caffe or torch.")
    precision: str = setting("float32", "Of the computation in training; results are float32.", choices=PRECISIONS)
    store: str | None = setting(
        None, "Folder for the frozen layers' output, shared by runs; by default inside --output."
    )
    store_gb: float = setting(100.0, "Disk for this run's frozen layers' output, others' not counted; 0: none.")
    store_dtype: str = setting(
        "float16", "Of the frozen layers' stored output.", choices=("float16", "bfloat16", "float32")
    )
    loss_scale: str = setting(
        "published",
        "Of the gradient: as its authors' code, or mean over tuples.",
        choices=("published", "tuple"),
    )
    logical_cpus: int = setting(
        0, "Train on so many logical CPU devices, to try MirroredStrategy without GPUs.", least=0
    )
    resume: bool = setting(False, "Continue the run in --output.")

    @property
    def starts_from_model(self) -> bool:
        """Whether the weights are a whole model, a `.keras` file, and not those of a backbone."""
        return self.weights.endswith(".keras")

    def recorded(self) -> dict[str, Any]:
        """What a run computes, by name, as its `run.json` holds it; None for what a whole model decides."""
        replaced = OF_THE_FILE if self.starts_from_model else ()
        chosen = {name: getattr(self, name) for name in self.names if name not in NOT_RECORDED}
        return chosen | {name: None for name in replaced if name in chosen}

    def check(self) -> None:
        """Checks every setting by itself, and that none contradicts a whole model.

        Raises:
            ValueError: a setting is missing, out of range, or said by the model's file alone.
        """
        super().check()
        contradicting = [name for name in OF_THE_FILE if name in self.given]
        if self.starts_from_model and contradicting:
            flags = ", ".join(f"--{name}" for name in contradicting)
            raise ValueError(
                f"`{contradicting[0]}` must not be given with a .keras file, which is a whole model and keeps its "
                f"network, clusters and preprocessing: leave out {flags}. Received: --weights={self.weights}, {flags}"
            )
