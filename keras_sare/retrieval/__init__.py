"""Search over descriptors, and what makes its results better.

* `nearest`: exact nearest neighbours.
* `average_expand`, `alpha_expand`, `augment_database`: expansion of queries, and of the database.
* `diffuse`, `affinity_graph`: diffusion on the graph of nearest neighbours. `k_reciprocal`: shared neighbours.
* `Reranker`: looks for the query's object in the first images (`BoxSearch`) and describes its box (`BoxDescriptor`).
"""

from keras_sare.retrieval.expansion.diffusion import DiffusionSettings, diffuse
from keras_sare.retrieval.expansion.k_reciprocal import k_reciprocal
from keras_sare.retrieval.expansion.knn_graph import affinity_graph
from keras_sare.retrieval.expansion.query_expansion import alpha_expand, augment_database, average_expand
from keras_sare.retrieval.reranking.box_descriptor import BoxDescriptor
from keras_sare.retrieval.reranking.integral_volumes import IntegralVolume, quantise_activations
from keras_sare.retrieval.reranking.localisation import BoxSearch
from keras_sare.retrieval.reranking.query_objects import QueryObjects
from keras_sare.retrieval.reranking.reranker import Reranker, Reranking
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
