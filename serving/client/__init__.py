"""Embeds photos on a server, this package's or TensorFlow Serving: `EmbeddingClient`, `python -m serving.client`."""

from typing import TYPE_CHECKING

from keras_sare.utils.lazy_names import lazy_names

if TYPE_CHECKING:
    from serving.client.embedding_client import EmbeddingClient as EmbeddingClient
    from serving.client.embedding_client import EmbeddingError as EmbeddingError

_HOME = "serving.client.embedding_client"

__getattr__, __dir__, __all__ = lazy_names(__name__, {"EmbeddingClient": _HOME, "EmbeddingError": _HOME})
