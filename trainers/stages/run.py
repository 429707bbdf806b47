"""What the stages of a training program share."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import keras
import tensorflow as tf

from keras_sare.distribution import Workers
from keras_sare.training import RunFolder, TrainingSettings
from keras_sare.training.checkpoints.run_changes import complete
from keras_sare.training.stage_timer import StageTimer
from trainers.config import TrainingConfig

Settings = TypeVar("Settings", bound=TrainingSettings)
Chosen = TypeVar("Chosen", bound=TrainingConfig)


@dataclass(frozen=True)
class Run(Generic[Chosen, Settings]):
    """A training run, from its start on.

    Attributes:
        config: of the program.
        settings: of the training.
        strategy: of the run.
        workers: of the strategy.
        folder: of the run.
        times: of what comes before the training.
    """

    config: Chosen
    settings: Settings
    strategy: tf.distribute.Strategy
    workers: Workers
    folder: RunFolder
    times: StageTimer = field(default_factory=StageTimer, kw_only=True)

    @property
    def store(self) -> Path:
        """Folder of the frozen layers' output."""
        return store_folder(self.config)

    def reconfigured(self, config: Chosen) -> Self:
        """The run with another configuration of the same training."""
        return replace(self, config=config)

    def seconds_before(self) -> dict[str, float]:
        """Seconds before the training, by part of the work, for `Trainer.fit`."""
        return {part: seconds for part, seconds in self.times.seconds().items() if part != "total"}

    def load(self, path: Path) -> keras.Model:
        """Loads a model under the strategy's scope."""
        with self.strategy.scope():
            return keras.saving.load_model(path)

    def write_once(self, write: Callable[[], Any]) -> None:
        """Lets one worker write, when all have come this far, and the others wait for it."""
        self.workers.barrier()
        if self.workers.is_chief:
            write()
        self.workers.barrier()


def check_folder(folder: RunFolder, config: TrainingConfig) -> None:
    """Checks that a run may start or be resumed in its folder; see `RunFolder.check`.

    Raises:
        FileExistsError: it may not; the text names the flag that resumes a run.
        OSError: as of `RunFolder.check`, and so is ValueError.
    """
    try:
        folder.check(config.recorded(), config.resume)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (--resume resumes one.)") from error


def store_folder(config: TrainingConfig) -> Path:
    """Folder of the frozen layers' output of a run."""
    return Path(config.store or Path(config.output) / "trunk")


def with_run_settings(config: Chosen) -> Chosen:
    """Gives the settings that are not given the values of the run that is resumed, where there is one."""
    folder = RunFolder(config.output)
    if not (config.resume and folder.is_run):
        return config
    return config.completed(complete(folder.settings))
