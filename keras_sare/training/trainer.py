"""The training loop: refresh the cached descriptors, mine tuples, train on them, validate, keep the best epoch."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_sare.evaluation import RecallReport, better, evaluate
from keras_sare.losses import TupleLoss
from keras_sare.mining import HardNegativeMiner, tuple_dataset
from keras_sare.models import Extractor, warn_if_uninitialised
from keras_sare.training.checkpoints import Checkpoints, Progress
from keras_sare.training.logs import EpochLog
from keras_sare.training.places import Places
from keras_sare.training.settings import TrainingSettings
from keras_sare.training.step import make_train_step
from keras_sare.utils.progress import progress as progress_bar

logger = logging.getLogger(__name__)


class Trainer:
    """Trains a model on a place dataset, and resumes where an earlier call was stopped.

    Each epoch visits every query that has a potential positive once, in random order. The queries are cut into windows
    of `refresh_every`; at the start of a window the descriptors of the database and of the window's queries are
    computed with the present weights, and the window's tuples are mined from them. After each epoch the validation
    recall decides whether it is the best, and a checkpoint is written. A run that is killed loses the current epoch.

    Everything random is drawn from (seed, epoch), so that a resumed run goes on as the unbroken one would.

    Args:
        model: the part of the model that is trained; takes what the `inputs` of the places give. Made, like the
            optimizer that this class makes, under `strategy`'s scope. Its trainable weights are trained.
        loss: loss over tuples.
        train: training places.
        validation: validation places.
        settings: the numbers.
        folder: of the run: checkpoints, `log.csv`, TensorBoard events.
        strategy: any `tf.distribute` strategy of one process.

    Raises:
        ValueError: too few queries or database images for the settings, or tuples that do not divide over replicas.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: TupleLoss,
        train: Places,
        validation: Places,
        settings: TrainingSettings,
        folder: Path,
        strategy: tf.distribute.Strategy,
    ) -> None:
        self.model, self.train, self.validation, self.settings = model, train, validation, settings
        self.strategy, self.extractor = strategy, Extractor(model)
        self.miner = _make_miner(train, settings)
        _check_steps(settings, len(self.miner.trainable_queries), strategy.num_replicas_in_sync)
        self.validation_positives = validation.dataset.positives(settings.negative_radius)
        with strategy.scope():
            self.optimizer = keras.optimizers.SGD(settings.learning_rate, momentum=settings.momentum)
            self.optimizer.build(model.trainable_variables)
        self.step = make_train_step(strategy, model, loss, self.optimizer, settings.weight_decay)
        self.checkpoints, self.log = Checkpoints(folder / "checkpoints"), EpochLog(folder)

    def fit(self) -> Progress:
        """Trains until the last epoch or until validation recall stops rising; the model is left with the best weights.

        Returns:
            The history; `best_epoch` is the epoch whose weights the model has.

        Raises:
            FloatingPointError: the loss is not finite; the message names the images. The last checkpoint is whole.
        """
        state = self.checkpoints.restore(self.model, self.optimizer, self.miner.remembered)
        if state is None:
            warn_if_uninitialised(self.model, "trained")
            state = Progress()
            self._finish_epoch(state, loss=None, started=time.monotonic())
        else:
            logger.info("Resuming after epoch %d", state.epoch)
        while state.epoch < self.settings.epochs and state.epoch - state.best_epoch < self.settings.patience:
            started = time.monotonic()
            state.epoch += 1
            loss = self._train_epoch(state.epoch)
            self._finish_epoch(state, loss, started)
        self.checkpoints.load_best(self.model, state)
        logger.info("Best epoch: %d of %d", state.best_epoch, state.epoch)
        return state

    def _train_epoch(self, epoch: int) -> float:
        self.optimizer.learning_rate = self.settings.learning_rate_at(epoch)
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(self.miner.trainable_queries)
        window = self.settings.refresh_every_at(epoch)
        losses = [self._train_window(order[i : i + window], epoch) for i in range(0, len(order), window)]
        return float(np.mean(np.concatenate(losses)))

    def _train_window(self, queries: np.ndarray, epoch: int) -> np.ndarray:
        size, per_step = 2 + self.settings.negatives, self.settings.tuples_per_step
        database = self.train.describe(self.extractor, np.arange(self.miner.database_size), "cache: database")
        descriptors = self.train.describe(self.extractor, self.train.query_ids(queries), "cache: queries")

        def rows() -> Iterator[np.ndarray]:
            for query, descriptor in zip(queries, descriptors, strict=True):
                mined = self.miner.mine(query, descriptor, database, epoch)
                yield np.concatenate([[query + self.miner.database_size], mined])

        tuples = tuple_dataset(rows, self.train.inputs.gather, size, per_step)
        steps = len(queries) // per_step
        losses = np.empty(steps)
        batches = self.strategy.experimental_distribute_dataset(tuples)
        for i, (ids, inputs) in enumerate(progress_bar(batches, f"epoch {epoch}", steps, "step")):
            losses[i] = self.step(inputs)
            if not np.isfinite(losses[i]):
                raise FloatingPointError(self._describe_failure(epoch, i, ids, losses[i]))
        return losses

    def _finish_epoch(self, state: Progress, loss: float | None, started: float) -> None:
        report = self.validate()
        if state.epoch == 0 or better(report, RecallReport.from_json(state.best), self.settings.select_by):
            state.best_epoch, state.best = state.epoch, report.to_json()
        row: dict[str, Any] = {"epoch": state.epoch, "loss": "" if loss is None else loss}
        row["learning_rate"] = self.settings.learning_rate_at(max(state.epoch, 1))
        row |= {f"recall@{n}": report.at(n) for n in (1, 5, 10) if n in report.ns}
        state.history.append(row | {"seconds": round(time.monotonic() - started, 1)})
        self.checkpoints.save(state, self.model, self.optimizer, self.miner.remembered)
        self.log.write(state.history)
        logger.info("Epoch %d: %s", state.epoch, ", ".join(f"{k} {v:.4g}" for k, v in row.items() if v != ""))

    def validate(self) -> RecallReport:
        """Recall@N of the present weights on the validation places."""
        queries, database = self.validation.describe_all(self.extractor)
        protocol = f"recall@N within {self.settings.negative_radius:g} m"
        dataset = self.validation.dataset.name
        return evaluate(queries, database, self.validation_positives, protocol=protocol, dataset=dataset)[0]

    def _describe_failure(self, epoch: int, step: int, ids: Any, loss: float) -> str:
        images = np.concatenate([np.asarray(part) for part in self.strategy.experimental_local_results(ids)])
        places = self.train.dataset
        names = np.concatenate([places.database.paths, places.queries.paths])[images]
        return (
            f"The loss is {loss} in epoch {epoch}, step {step + 1}. Lower the learning rate "
            f"({self.settings.learning_rate_at(epoch):g}) and resume from the last checkpoint. The tuples of that "
            f"step, query first: {names.tolist()}"
        )


def _make_miner(train: Places, settings: TrainingSettings) -> HardNegativeMiner:
    dataset = train.dataset
    positives = dataset.positives(settings.positive_radius, exclude_within=settings.min_positive)
    miner = HardNegativeMiner(
        positives,
        dataset.positives(settings.negative_radius),
        len(dataset.database),
        settings.negatives,
        settings.negative_pool,
        settings.seed,
    )
    logger.info(
        "Training queries with a potential positive: %d of %d", len(miner.trainable_queries), len(dataset.queries)
    )
    return miner


def _check_steps(settings: TrainingSettings, queries: int, replicas: int) -> None:
    if settings.tuples_per_step % replicas:
        raise ValueError(
            f"`tuples_per_step` must be a multiple of the number of replicas, {replicas}. "
            f"Received: tuples_per_step={settings.tuples_per_step}"
        )
    if min(queries, settings.refresh_every) < settings.tuples_per_step:
        raise ValueError(
            f"`tuples_per_step` must not exceed the training queries with a positive, {queries}, nor `refresh_every`, "
            f"{settings.refresh_every}. Received: tuples_per_step={settings.tuples_per_step}"
        )
