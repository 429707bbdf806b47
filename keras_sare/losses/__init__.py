"""Losses over tuples of embeddings: a query, its positive and its negatives."""

from keras_sare.losses.base import TupleLoss
from keras_sare.losses.contrastive import ContrastiveLoss, contrastive
from keras_sare.losses.info_nce import InfoNCELoss
from keras_sare.losses.multi_similarity import MultiSimilarityLoss
from keras_sare.losses.sare import SARELoss, sare
from keras_sare.losses.triplet import TripletLoss, triplet

__all__ = [
    "ContrastiveLoss",
    "InfoNCELoss",
    "MultiSimilarityLoss",
    "SARELoss",
    "TripletLoss",
    "TupleLoss",
    "contrastive",
    "sare",
    "triplet",
]
