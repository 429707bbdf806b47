"""Training: one loop for every tf.distribute strategy, checkpoints, logs, and the folder of a run."""

from keras_sare.training.checkpoints.run_folder import RunFolder
from keras_sare.training.data.augmented_inputs import AugmentedInputs
from keras_sare.training.data.open_places import open_places
from keras_sare.training.data.places import Places
from keras_sare.training.data.sfm_photos import SfMPhotos
from keras_sare.training.data.training_images import TrainingImages
from keras_sare.training.feature_store.feature_store import FeatureStore
from keras_sare.training.feature_store.frozen_trunk import FrozenTrunk
from keras_sare.training.feature_store.open_feature_store import open_feature_store
from keras_sare.training.settings.place_settings import PlaceSettings
from keras_sare.training.settings.sfm_settings import SfMSettings
from keras_sare.training.settings.training_settings import TrainingSettings
from keras_sare.training.trainer import Trainer
from keras_sare.training.validation.mean_average_precision_validation import MeanAveragePrecisionValidation
from keras_sare.training.validation.recall_validation import RecallValidation
from keras_sare.training.validation.validation import Validation

__all__ = [
    "AugmentedInputs",
    "FrozenTrunk",
    "MeanAveragePrecisionValidation",
    "PlaceSettings",
    "Places",
    "RecallValidation",
    "RunFolder",
    "SfMPhotos",
    "SfMSettings",
    "Trainer",
    "TrainingImages",
    "TrainingSettings",
    "FeatureStore",
    "Validation",
    "open_feature_store",
    "open_places",
]
