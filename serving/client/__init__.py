"""Embeds photos on a server, this package's or TensorFlow Serving: `EmbeddingClient`, `python -m serving.client`.

It needs gRPC, protobuf and numpy, and imports no TensorFlow.
"""

from typing import TYPE_CHECKING

from keras_sare.utils.lazy_names import lazy_names

if TYPE_CHECKING:
    from serving.client.async_client import AsyncEmbeddingClient as AsyncEmbeddingClient
    from serving.client.connection import Connection as Connection
    from serving.client.embedding_client import EmbeddingClient as EmbeddingClient
    from serving.client.exchange import EmbeddingError as EmbeddingError
    from serving.client.exchange import FileAnswer as FileAnswer
    from serving.client.settings import RequestSettings as RequestSettings

_HOMES = {
    "AsyncEmbeddingClient": "async_client",
    "Connection": "connection",
    "EmbeddingClient": "embedding_client",
    "EmbeddingError": "exchange",
    "FileAnswer": "exchange",
    "RequestSettings": "settings",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, {name: f"{__name__}.{home}" for name, home in _HOMES.items()})
