"""Losses over tuples of embeddings: a query, its positive and its negatives."""

from keras_sare.losses.base import TupleLoss
from keras_sare.losses.contrastive import ContrastiveLoss, contrastive
from keras_sare.losses.sare import SARELoss, sare

__all__ = ["ContrastiveLoss", "SARELoss", "TupleLoss", "contrastive", "sare"]
