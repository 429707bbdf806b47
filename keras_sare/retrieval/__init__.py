"""Search over descriptors, and what makes its results better.

* `nearest`: exact nearest neighbours.
* `average_expand`, `alpha_expand`, `augment_database`: expansion of queries, and of the database.
* `diffuse`, `affinity_graph`: diffusion on the graph of nearest neighbours. `k_reciprocal`: shared neighbours.
* `Reranker`: looks for the query's object in the first images (`BoxSearch`) and describes its box (`BoxDescriptor`).
"""

from keras_sare.retrieval.box_descriptor import BoxDescriptor
from keras_sare.retrieval.diffusion import DiffusionSettings, diffuse
from keras_sare.retrieval.integral_volumes import IntegralVolume, quantise_activations
from keras_sare.retrieval.k_reciprocal import k_reciprocal
from keras_sare.retrieval.knn_graph import affinity_graph
from keras_sare.retrieval.localisation import BoxSearch
from keras_sare.retrieval.query_expansion import alpha_expand, augment_database, average_expand
from keras_sare.retrieval.query_objects import QueryObjects
from keras_sare.retrieval.reranking import Reranker, Reranking
from keras_sare.retrieval.search import nearest

__all__ = [
    "BoxDescriptor",
    "BoxSearch",
    "DiffusionSettings",
    "IntegralVolume",
    "QueryObjects",
    "Reranker",
    "Reranking",
    "affinity_graph",
    "alpha_expand",
    "augment_database",
    "average_expand",
    "diffuse",
    "k_reciprocal",
    "nearest",
    "quantise_activations",
]
