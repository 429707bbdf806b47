"""Training: one loop for every tf.distribute strategy, checkpoints, logs, and the folder of a run."""

from keras_sare.training.final_report import report_places
from keras_sare.training.inputs import ImageInputs, StoredInputs, store_trunk
from keras_sare.training.places import Places, image_inputs, open_places
from keras_sare.training.run_folder import RunFolder
from keras_sare.training.settings import TrainingSettings
from keras_sare.training.strategy import choose_strategy
from keras_sare.training.trainer import Trainer

__all__ = [
    "ImageInputs",
    "Places",
    "RunFolder",
    "StoredInputs",
    "Trainer",
    "TrainingSettings",
    "choose_strategy",
    "image_inputs",
    "open_places",
    "report_places",
    "store_trunk",
]
