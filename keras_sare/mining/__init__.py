"""Mining: which images make a tuple. Pure index maths on arrays, and the tf.data pipeline that feeds the tuples."""

from keras_sare.mining.hard_negatives import HardNegativeMiner
from keras_sare.mining.mined_tuples import MinedTuples
from keras_sare.mining.place_batches import PlaceBatchMiner
from keras_sare.mining.sfm.pairs import matching_pairs
from keras_sare.mining.sfm.positives import PositiveRule
from keras_sare.mining.sfm.tuples import SfMTupleMiner
from keras_sare.mining.tuples import tuple_dataset

__all__ = [
    "HardNegativeMiner",
    "MinedTuples",
    "PlaceBatchMiner",
    "PositiveRule",
    "SfMTupleMiner",
    "matching_pairs",
    "tuple_dataset",
]
