"""Opens the splits of a place dataset for training."""

from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from keras_sare.datasets import PlaceDataset
from keras_sare.training.data.places import Places
from keras_sare.training.feature_store.open_feature_store import KEPT_FREE, open_feature_store
from keras_sare.training.settings.place_settings import PlaceSettings
from keras_sare.training.stage_timer import StageTimer


def open_places(
    datasets: Mapping[str, PlaceDataset],
    trunk: keras.Model,
    size: tuple[int, int] | int,
    settings: PlaceSettings,
    folder: Path,
    store_limit: float,
    *,
    dtype: str = "float16",
    strategy: tf.distribute.Strategy | None = None,
    times: StageTimer | None = None,
    kept_free: float = KEPT_FREE,
) -> dict[str, Places]:
    """Opens the splits of a dataset for training, with the frozen layers' output stored where that pays.

    Args:
        datasets: by split.
        trunk: as of `open_feature_store`, and so are the others.
        size: (height, width) that images are resized to, or the limit of the longer side.
        settings: of the run.
        folder: where the output goes, and descriptors larger than memory.
        store_limit: bytes of disk for the output of these datasets; 0 turns the store off.
        dtype: in which the output is stored.
        strategy: of the run.
        times: is told how long the output of the frozen layers took.
        kept_free: bytes of the disk, as of `open_feature_store`.

    Returns:
        The places by split. Their `stored` says whether the inputs are the output of `trunk` instead of pixels; it is
        the same for all splits.

    Raises:
        ValueError: as `open_feature_store`.
        OSError: as `open_feature_store`.
    """
    paths = {name: dataset.paths for name, dataset in datasets.items()}
    inputs, stored = open_feature_store(
        paths,
        trunk,
        size,
        settings,
        folder,
        store_limit,
        dtype=dtype,
        strategy=strategy,
        times=times,
        kept_free=kept_free,
    )
    return {name: Places(datasets[name], inputs[name], settings, folder / "spill", stored=stored) for name in datasets}
