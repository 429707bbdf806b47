"""Losses over tuples of embeddings, a query, its positive and its negatives: by class, or by name from `LOSSES`."""

from keras_sare.losses.base import TupleLoss
from keras_sare.losses.contrastive import ContrastiveLoss, contrastive
from keras_sare.losses.info_nce import InfoNCELoss
from keras_sare.losses.multi_similarity import MultiSimilarityLoss
from keras_sare.losses.place_batch import PlaceBatchLoss
from keras_sare.losses.registry import LOSSES, LossEntry, get
from keras_sare.losses.sare import SARELoss, sare
from keras_sare.losses.triplet import TripletLoss, triplet

__all__ = [
    "LOSSES",
    "ContrastiveLoss",
    "InfoNCELoss",
    "LossEntry",
    "MultiSimilarityLoss",
    "PlaceBatchLoss",
    "SARELoss",
    "TripletLoss",
    "TupleLoss",
    "contrastive",
    "get",
    "sare",
    "triplet",
]
