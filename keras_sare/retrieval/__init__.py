"""Exact nearest-neighbour search over descriptors."""

from keras_sare.retrieval.search import nearest

__all__ = ["nearest"]
