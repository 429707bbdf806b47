"""The training loop: refresh the cached descriptors, mine tuples, train on them, validate, keep the best epoch."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.distribution.workers import Workers
from keras_sare.extraction.extractor import Extractor
from keras_sare.losses import TupleLoss
from keras_sare.models import warn_if_uninitialised
from keras_sare.training.cache_refresher import CacheRefresher
from keras_sare.training.checkpoints.checkpoints import Checkpoints
from keras_sare.training.checkpoints.run_state import EpochState, RunState
from keras_sare.training.data.training_images import TrainingImages
from keras_sare.training.data.tuple_checks import check_replicas
from keras_sare.training.failures import unreadable_image
from keras_sare.training.logs import EpochLog
from keras_sare.training.stage_timer import PARTS, StageTimer, added
from keras_sare.training.tuple_trainer import TupleTrainer
from keras_sare.training.validation.validation import Report, Validation

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a model on places or on photos of 3D models, and resumes where an earlier call was stopped.

    Each epoch visits its queries, of places every one that has a potential positive, once in random order, but for the
    last few, which do not fill a step. The queries are cut into windows of whole steps; at the start of a window the
    descriptors of the window's queries and of what mining looks at are computed with the present weights, and the
    window's tuples are mined from them. After each epoch the validation, as the first worker finds it, decides whether
    it is the best, or with `select="last"` every epoch counts as better than those before.

    Checkpoints are written after each refresh, every `checkpoint_every` steps and after each epoch. Everything random
    is drawn from (seed, epoch, query) or is a variable of the model, so that a run that is killed at any moment and
    resumed goes on as the unbroken one would, on one processor bit by bit.

    Descriptors, mining and steps are shared out over the replicas and workers of the strategy. With several workers the
    first one writes the files, and all read them: `folder` must be one that they share.

    Args:
        model: the part of the model that is trained, made under `strategy`'s scope. Its trainable weights are trained;
            where it computes in float16, through a scaled loss.
        loss: loss over tuples.
        train: what to train on; its `settings` are those of the run.
        validation: says which epoch is best.
        folder: of the run: checkpoints, `log.csv`, `training.png`, TensorBoard events.
        strategy: any `tf.distribute` strategy, of one process or several.
        frozen: the part before `model`, put before it where images are not stored or are augmented. None where `model`
            takes what the images give.

    Raises:
        ValueError: too few queries or database images for the settings, tuples that do not divide over replicas, or
            images that need a `frozen` part.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: TupleLoss,
        train: TrainingImages,
        validation: Validation[Any],
        folder: Path,
        strategy: tf.distribute.Strategy,
        frozen: keras.Model | None = None,
    ) -> None:
        _check_frozen(train, frozen)
        check_replicas(train.settings, strategy.num_replicas_in_sync)
        self.model = model
        self.validation = validation
        self.settings = train.settings
        self.workers = Workers(strategy)
        measured = validation.images
        fed = {stored: _fed(model, None if stored else frozen, strategy) for stored in {train.stored, measured.stored}}
        self.extractor = fed[measured.stored]
        self.miner = CacheRefresher(train, fed[train.stored], self.workers)
        self.tuple_trainer = TupleTrainer(model, loss, train, strategy, frozen)
        self.checkpoints = Checkpoints(
            folder / "checkpoints",
            model,
            self.tuple_trainer.optimizer,
            self.miner,
            self.settings.keep_checkpoints,
            frozen,
            {"train": train.fingerprint, "validation": measured.fingerprint},
            self.workers.is_chief,
        )
        self.log = EpochLog(folder)
        self.state = RunState()
        self.times = StageTimer()

    def fit(self, spent: Mapping[str, float] | None = None) -> RunState:
        """Trains until the last epoch or until validation finds nothing better any more.

        The model is left with the weights of the best epoch, or with `select="last"` of the last one. A resumed run
        that has all its epochs by then ends there; what it did of another one is not used.

        Args:
            spent: seconds that the run took before this call, by part of the work (`stage_timer.PARTS`): they count for
                the epoch that comes first.

        Returns:
            The history; `best_epoch` is the epoch whose weights the model has.

        Raises:
            FloatingPointError: the loss is not finite; the message names the images. The last checkpoint is whole.
            OSError: a checkpoint or the log cannot be written, for example because the disk is full.
            ValueError: an image cannot be read, none of the checkpoints can, they were written on other datasets, or
                the workers do not find the same ones.
            WorkerLostError: another worker stopped.
        """
        with self._explained():
            self._start(spent or {})
            while not self._finished():
                self._train_epoch(self.state.epoch + 1)
                self._finish_epoch(self.state.epoch + 1)
            self.checkpoints.load_best(self.state)
        which = "the last" if self.settings.select == "last" else "best by validation"
        kept = "0, the model before training," if self.state.best_epoch == 0 else f"{self.state.best_epoch}"
        logger.info("Kept epoch: %s of %d (%s)", kept, self.state.epoch, which)
        self._warn_of_harm()
        return self.state

    def _warn_of_harm(self) -> None:
        """Warns where the last epoch is kept, whatever validation says, and the model before training was better."""
        before = self.state.history[0]
        kept = self.state.history[self.state.best_epoch]
        measure = next(name for name in kept if name.startswith(("recall@", "mAP")))
        if self.settings.select == "last" and kept[measure] < before[measure]:
            logger.warning(
                "By validation the kept epoch is worse than the model before training: %s %.4g, before %.4g. "
                '`select="best"` keeps the best one',
                measure,
                kept[measure],
                before[measure],
            )

    def validate(self) -> Report:
        """Measures the present weights on the validation images."""
        return self.validation.measure(self.extractor, self.workers)

    def _start(self, spent: Mapping[str, float]) -> None:
        restored = self.checkpoints.restore()
        self._agree_on(restored)
        if restored is None:
            warn_if_uninitialised(self.model, "trained")
            self.times = StageTimer(added({}, spent))
            self._finish_epoch(0)
        else:
            running = restored.running
            self.state = restored
            self.times = StageTimer(added(running.seconds, spent))
            logger.info("Resuming after epoch %d, step %d of the next", restored.epoch, len(running.losses))
            self._write_log()

    def _agree_on(self, restored: RunState | None) -> None:
        """Waits for all workers, too: the first checkpoint that is written may drop one that another worker reads."""
        state = restored or RunState(epoch=-1)
        window = -1 if state.running.tuples is None else state.running.window
        found = self.workers.all_gather(np.array([[state.epoch, window, state.running.step]]), self.workers.count)
        if (found != found[0]).any():
            raise ValueError(
                "`folder` must be one that all workers share, and where each finds the same last checkpoint: it may be "
                "another folder on some machine, or one whose listing there is old. See to it and start all workers "
                f"again. Received: folder={str(self.log.folder)!r}, where the workers found "
                f"[epoch, window, step]={found.tolist()}, -1 for none"
            )

    def _finished(self) -> bool:
        stale = self.state.epoch - self.state.best_epoch >= self.settings.patience
        return self.state.epoch >= self.settings.epochs or stale

    def _train_epoch(self, epoch: int) -> None:
        self.tuple_trainer.set_rate(epoch)
        running = self.state.running
        windows = self.miner.windows(epoch)
        while running.window < len(windows):
            if running.tuples is None:
                mined = self.miner.mine(windows[running.window], epoch, self.times)
                running.tuples = mined.tuples
                running.violating = running.violating + mined.violating
                self.state.refreshes += 1
                self._save()
            self._train_window(epoch, running.tuples)
            running.window = running.window + 1
            running.tuples = None
            running.step = 0

    def _train_window(self, epoch: int, tuples: np.ndarray) -> None:
        """Trains from the present step of the window on, and writes a checkpoint where one is due."""
        running = self.state.running
        per_step = self.settings.tuples_per_step
        every = self.settings.checkpoint_every
        steps = len(tuples) // per_step
        while running.step < steps:
            done = len(running.losses)
            end = min(running.step + every - done % every, steps)
            part = tuples[running.step * per_step : end * per_step]
            running.losses += self.tuple_trainer(part, epoch, self.times, done)
            running.step = end
            if len(running.losses) % every == 0:
                self._save()

    def _finish_epoch(self, epoch: int) -> None:
        with self.times.measure("validation"):
            report = self.validate()
        state = self.state
        if epoch == 0 or self._is_better(report):
            state.best_epoch = epoch
            state.best = report.to_json()
        row = self._figures(epoch) | self.validation.figures(report)
        logger.info("Epoch %d: %s", epoch, ", ".join(f"{k} {v:.4g}" for k, v in row.items() if v != ""))
        seconds = self.times.seconds()
        row |= {f"seconds_{part}": round(seconds[part], 2) for part in PARTS}
        state.history.append(row | {"seconds": round(seconds["total"], 2)})
        # What the checkpoint of an epoch takes counts for the next one: this one's figures are inside.
        state.epoch = epoch
        state.running = EpochState()
        self.times = StageTimer()
        self._save()
        self._write_log()

    def _is_better(self, report: Report) -> bool:
        if self.settings.select == "last" or (self.state.best_epoch == 0 and not self.settings.keep_untrained):
            return True
        return self.validation.is_better(report, self.state.best)

    def _figures(self, epoch: int) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "epoch": epoch,
            "loss": "",
            "learning_rate": self.settings.learning_rate_at(max(epoch, 1)),
        }
        figures |= {"violating": "", "cache_age": ""}
        if epoch:
            windows = self.miner.windows(epoch)
            running = self.state.running
            ages = np.concatenate([np.arange(len(window) // self.settings.tuples_per_step) for window in windows])
            figures["loss"] = float(np.mean(running.losses))
            if self.miner.reads_descriptors:
                figures["violating"] = running.violating / sum(len(window) for window in windows)
                figures["cache_age"] = float(ages.mean())
        return figures

    def _save(self) -> None:
        self.state.running.seconds = self.times.seconds()
        with self.times.measure("checkpoints"):
            self.checkpoints.save(self.state)
            self.workers.barrier()

    def _write_log(self) -> None:
        if not self.workers.is_chief:
            return
        try:
            self.log.write(self.state.history, self.state.best_epoch)
        except OSError as error:
            raise self.checkpoints.explain(error, "the log") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Adds to errors that stop the run where it goes on."""
        try:
            with self.workers.explain_loss():
                yield
        except tf.errors.OpError as error:
            image = unreadable_image(error)
            if not image:
                raise
            raise ValueError(
                f"{image}. Repair or replace the file and resume the run. {self.checkpoints.last}"
            ) from error
        except FloatingPointError as error:
            raise FloatingPointError(f"{error}. {self.checkpoints.last}") from error


def _fed(model: keras.Model, before: keras.Model | None, strategy: tf.distribute.Strategy) -> Extractor:
    if before is None:
        return Extractor(model, strategy)
    with strategy.scope():
        return Extractor(keras.Model(before.inputs[0], model(before.output)), strategy)


def _check_frozen(train: TrainingImages, frozen: keras.Model | None) -> None:
    if frozen is None and train.stored and train.augmented is not None:
        raise ValueError(
            "`frozen` must be given where `train` is stored and augmented: augmented images go through the layers "
            "whose output is stored. Received: frozen=None"
        )
