"""What would stop the runs of a grid is found before the first one starts."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import tensorflow as tf

from keras_sare.training import RunFolder
from keras_sare.utils.error_text import one_line
from keras_sare.utils.progress import progress
from trainers.config import PittsConfig
from trainers.stages.ablation.grid import grouped, stop_at
from trainers.stages.ablation.measured_sets import MeasuredSet
from trainers.stages.ablation.runs import Planned, store_of
from trainers.stages.places import stages

logger = logging.getLogger("keras_sare.ablation")

_OF_STORE = ("model", "weights", "preprocessing", "train_from", "image_size", "orientation", "store_dtype")
_OF_MODEL = ("model", "weights", "preprocessing", "clusters", "train_from", "whitening", "dim", "image_size")


def leave_devices() -> None:
    """Leaves GPUs to the processes that train: this one would take their memory for its checks.

    Raises:
        ValueError: TF_CONFIG names workers, for which this process would wait.
    """
    if os.environ.get("TF_CONFIG"):
        raise ValueError(
            "TF_CONFIG must not be set: the runs of a grid are trained on one machine, one after the other. Unset it. "
            f"Received: TF_CONFIG={os.environ['TF_CONFIG']!r}"
        )
    with suppress(RuntimeError):  # They are in use already, as where this is not the program itself.
        tf.config.set_visible_devices([], "GPU")


def check_runs(runs: Sequence[Planned], sets: Sequence[MeasuredSet]) -> None:
    """Checks that `trainers.pitts` would take each combination, with its data and its model, and that sets are there.

    Raises:
        ValueError: something is wrong; where there are several errors, each is logged.
    """
    first = list({run.combination: run for run in reversed(runs)}.values())[::-1]
    errors = [error for one in sets if (error := _refusal_of_set(one, first[0].combination.config))]
    stop_at(errors)
    models: dict[str, str | None] = {}
    findings = [(run.combination.name, _refusal(run, models)) for run in progress(first, "checks", len(first))]
    stop_at(grouped(findings))


def log_stores(runs: Sequence[Planned]) -> None:
    """Tells which combinations share the output of the frozen layers."""
    by_store: dict[str, list[str]] = {}
    for run in runs:
        settings = run.combination.settings
        by_store.setdefault(str([settings.get(name) for name in _OF_STORE]), []).append(run.combination.name)
    for number, names in enumerate(by_store.values(), 1):
        told = "; ".join(dict.fromkeys(names))
        logger.info("Frozen layers' output, store %d of %d, is shared by: %s", number, len(by_store), told)


def _refusal(run: Planned, models: dict[str, str | None]) -> str | None:
    """Why `trainers.pitts` would refuse a run; None where it would not.

    Args:
        run: that is looked at.
        models: what was found of models, by their settings, which several runs share.
    """
    config = run.combination.config
    given = {name: getattr(config, name) for name in config.given} | {"seed": run.seed, "resume": True}
    config = PittsConfig(**given | {"output": str(run.folder), "store": str(store_of(run))})
    if RunFolder(run.folder).is_run and run.is_trained:
        return None
    try:
        with _quiet():
            opened = stages.open_run(config)
            key = str([getattr(opened.config, name) for name in _OF_MODEL])
            if key not in models:
                models[key] = None
                models[key] = _tried_model(opened)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        return one_line(error)
    return models[key]


def _tried_model(opened: stages.PlaceRun) -> str | None:
    try:
        stages.check_model(opened)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        return one_line(error)
    return None


def _refusal_of_set(places: MeasuredSet, config: PittsConfig) -> str | None:
    try:
        places.open(config)
    except (ValueError, OSError) as error:
        return f"{places.name}={Path(places.root)}:{places.split}: {one_line(error)}"
    return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the messages of a start: each run's log has them."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
