"""Photos of 3D models together with what the model is fed for each of them."""

from dataclasses import dataclass

import numpy as np

from keras_sare.datasets.sfm.sfm_dataset import SfMDataset
from keras_sare.mining.sfm.tuples import SfMTupleMiner
from keras_sare.training.data.training_images import TrainingImages, TupleSource, checksum
from keras_sare.training.settings.sfm_settings import SfMSettings


@dataclass(frozen=True)
class SfMPhotos(TrainingImages):
    """Photos of 3D models and their inputs. Each photo is a query and in the database. See `TrainingImages`."""

    dataset: SfMDataset
    settings: SfMSettings

    @property
    def fingerprint(self) -> str:
        """Tells the dataset from others: by its images and all that is known of them."""
        data = self.dataset
        arrays = (data.models, data.clusters, data.centres, data.point_starts, data.points, data.scales, data.pairs)
        known = checksum(data.paths, *(array for array in arrays if array is not None))
        return f"{len(data.paths)} images of {len(np.unique(data.models))} models, checksum {known}"

    def tuple_source(self) -> TupleSource:
        """Makes the miner.

        Raises:
            ValueError: the dataset lacks what the rule of positives needs, no image has a positive, or there are too
                few other clusters.
        """
        settings = self.settings
        images = len(self.paths)
        miner = SfMTupleMiner(
            self.dataset,
            settings.positive,
            settings.negatives,
            settings.negatives_from,
            settings.negative_pool,
            settings.queries_per_epoch,
            settings.seed,
        )
        return TupleSource(miner, images, np.arange(images), miner.epoch_queries)
