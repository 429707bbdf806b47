"""Training: one loop for every tf.distribute strategy, checkpoints, logs, and the folder of a run.

Names are loaded at their first use: who wants the settings alone, as `--help` of a program does, does not wait for
TensorFlow.
"""

from typing import TYPE_CHECKING

from keras_sare.utils.lazy_names import lazy_names

if TYPE_CHECKING:
    from keras_sare.training.checkpoints.run_folder import RunFolder as RunFolder
    from keras_sare.training.data.augmented_inputs import AugmentedInputs as AugmentedInputs
    from keras_sare.training.data.open_places import open_places as open_places
    from keras_sare.training.data.places import Places as Places
    from keras_sare.training.data.sfm_photos import SfMPhotos as SfMPhotos
    from keras_sare.training.data.training_images import TrainingImages as TrainingImages
    from keras_sare.training.feature_store.feature_store import FeatureStore as FeatureStore
    from keras_sare.training.feature_store.frozen_trunk import FrozenTrunk as FrozenTrunk
    from keras_sare.training.feature_store.open_feature_store import open_feature_store as open_feature_store
    from keras_sare.training.settings.place_settings import PlaceSettings as PlaceSettings
    from keras_sare.training.settings.sfm_settings import SfMSettings as SfMSettings
    from keras_sare.training.settings.training_settings import TrainingSettings as TrainingSettings
    from keras_sare.training.trainer import Trainer as Trainer
    from keras_sare.training.validation.mean_average_precision_validation import (
        MeanAveragePrecisionValidation as MeanAveragePrecisionValidation,
    )
    from keras_sare.training.validation.recall_validation import RecallValidation as RecallValidation
    from keras_sare.training.validation.validation import Validation as Validation

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "AugmentedInputs": "keras_sare.training.data.augmented_inputs",
        "FeatureStore": "keras_sare.training.feature_store.feature_store",
        "FrozenTrunk": "keras_sare.training.feature_store.frozen_trunk",
        "MeanAveragePrecisionValidation": "keras_sare.training.validation.mean_average_precision_validation",
        "PlaceSettings": "keras_sare.training.settings.place_settings",
        "Places": "keras_sare.training.data.places",
        "RecallValidation": "keras_sare.training.validation.recall_validation",
        "RunFolder": "keras_sare.training.checkpoints.run_folder",
        "SfMPhotos": "keras_sare.training.data.sfm_photos",
        "SfMSettings": "keras_sare.training.settings.sfm_settings",
        "Trainer": "keras_sare.training.trainer",
        "TrainingImages": "keras_sare.training.data.training_images",
        "TrainingSettings": "keras_sare.training.settings.training_settings",
        "Validation": "keras_sare.training.validation.validation",
        "open_feature_store": "keras_sare.training.feature_store.open_feature_store",
        "open_places": "keras_sare.training.data.open_places",
    },
)
