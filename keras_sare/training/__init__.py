"""Training: one loop for every tf.distribute strategy, checkpoints, logs, and the folder of a run."""

from keras_sare.training.augmented_inputs import AugmentedInputs
from keras_sare.training.bucketed_inputs import BucketedInputs
from keras_sare.training.describer import Describer
from keras_sare.training.final_report import report_places
from keras_sare.training.frozen_trunk import FrozenTrunk
from keras_sare.training.inputs import ImageInputs, StoredInputs
from keras_sare.training.mean_average_precision_validation import MeanAveragePrecisionValidation
from keras_sare.training.open_inputs import open_inputs
from keras_sare.training.open_places import open_places
from keras_sare.training.place_settings import PlaceSettings
from keras_sare.training.places import Places
from keras_sare.training.recall_validation import RecallValidation
from keras_sare.training.run_folder import RunFolder
from keras_sare.training.settings import TrainingSettings
from keras_sare.training.sfm_photos import SfMPhotos
from keras_sare.training.sfm_settings import SfMSettings
from keras_sare.training.strategy import choose_strategy
from keras_sare.training.trainer import Trainer
from keras_sare.training.training_images import TrainingImages
from keras_sare.training.trunk_store import TrunkStore
from keras_sare.training.validation import Validation
from keras_sare.training.workers import Workers

__all__ = [
    "AugmentedInputs",
    "BucketedInputs",
    "Describer",
    "FrozenTrunk",
    "ImageInputs",
    "MeanAveragePrecisionValidation",
    "PlaceSettings",
    "Places",
    "RecallValidation",
    "RunFolder",
    "SfMPhotos",
    "SfMSettings",
    "StoredInputs",
    "Trainer",
    "TrainingImages",
    "TrainingSettings",
    "TrunkStore",
    "Validation",
    "Workers",
    "choose_strategy",
    "open_inputs",
    "open_places",
    "report_places",
]
