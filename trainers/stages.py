"""What the training programs share: their flags as settings, and stages that one worker of several writes."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import keras
import tensorflow as tf
from absl import flags

from keras_sare.distribution import Workers
from keras_sare.training import RunFolder, TrainingSettings
from keras_sare.training.checkpoints.run_changes import complete
from keras_sare.training.stage_timer import StageTimer
from keras_sare.utils.progress import show_information
from trainers.starting_model import OF_THE_FILE, is_model_file

UNCHOSEN = ("output", "resume", "store")
"""Flags that say where and how a run goes on, not what it computes."""


Settings = TypeVar("Settings", bound=TrainingSettings)


@dataclass(frozen=True)
class Run(Generic[Settings]):
    """What all stages of a training program share.

    Attributes:
        chosen: flags that say what the run computes, by name.
        settings: of the training.
        strategy: of the run.
        workers: of the strategy.
        folder: of the run.
        times: of what comes before the training.
    """

    chosen: dict[str, Any]
    settings: Settings
    strategy: tf.distribute.Strategy
    workers: Workers
    folder: RunFolder
    times: StageTimer = field(default_factory=StageTimer, kw_only=True)

    def spent(self) -> dict[str, float]:
        """Seconds before the training, by part of the work, for `Trainer.fit`."""
        return {part: seconds for part, seconds in self.times.seconds().items() if part != "total"}

    def load(self, path: Path) -> keras.Model:
        """Loads a model under the strategy's scope."""
        with self.strategy.scope():
            return keras.saving.load_model(path)

    def write_once(self, write: Callable[[], None]) -> None:
        """Lets one worker write, when all have come this far, and the others wait for it."""
        self.workers.barrier()
        if self.workers.is_chief:
            write()
        self.workers.barrier()


def start(train: Callable[[], None]) -> None:
    """Runs a training program, and tells how to go on where it is interrupted.

    Args:
        train: all of its stages.
    """
    show_information()
    try:
        train()
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command with --resume goes on after the last checkpoint.")


def chosen_flags(module: str) -> dict[str, Any]:
    """Every flag that a program defines but those that say where and whether to resume, by name.

    Where the weights are a whole model, the flags that it takes the place of are None.

    Args:
        module: `__name__` of the program.
    """
    defined = flags.FLAGS.flags_by_module_dict()
    own = defined[module if module in defined else sys.argv[0]]
    chosen = {flag.name: flag.value for flag in own if flag.name not in UNCHOSEN}
    replaced = OF_THE_FILE if is_model_file(chosen["weights"]) else ()
    return chosen | {name: None for name in replaced if name in chosen}


def adopt_settings(folder: RunFolder, resume: bool) -> None:
    """Gives the flags that the command line does not name the values of the run that is resumed.

    Args:
        folder: of the run.
        resume: whether it is resumed; where there is none, one may start.
    """
    if resume and folder.is_run:
        settings = complete(folder.settings)
        apply_recipe({name: value for name, value in settings.items() if name in flags.FLAGS})


def apply_recipe(recipe: Mapping[str, Any]) -> None:
    """Gives the flags that the command line does not name a recipe's values."""
    for name, value in recipe.items():
        flags.FLAGS.set_default(name, value)  # which leaves a flag alone that was given
