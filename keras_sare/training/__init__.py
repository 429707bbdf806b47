"""Training: one loop for every tf.distribute strategy, checkpoints, logs, and the folder of a run."""

from keras_sare.training.augmented_inputs import AugmentedInputs
from keras_sare.training.describer import Describer
from keras_sare.training.final_report import report_places
from keras_sare.training.inputs import ImageInputs, StoredInputs
from keras_sare.training.open_places import open_places
from keras_sare.training.places import Places, image_inputs
from keras_sare.training.run_folder import RunFolder
from keras_sare.training.settings import TrainingSettings
from keras_sare.training.strategy import choose_strategy
from keras_sare.training.trainer import Trainer
from keras_sare.training.trunk_store import TrunkStore
from keras_sare.training.workers import Workers

__all__ = [
    "AugmentedInputs",
    "Describer",
    "ImageInputs",
    "Places",
    "RunFolder",
    "StoredInputs",
    "Trainer",
    "TrainingSettings",
    "TrunkStore",
    "Workers",
    "choose_strategy",
    "image_inputs",
    "open_places",
    "report_places",
]
