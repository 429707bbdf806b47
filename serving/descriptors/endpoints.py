"""Models behind a gRPC address: of `python -m serving`, or TensorFlow Serving."""

from dataclasses import dataclass, field

import numpy as np

from keras_sare.utils.progress import progress
from serving.client import EmbeddingClient, RequestSettings
from serving.descriptors.descriptor_model import DescriptorModel, Rows

SCHEME = "grpc://"
_MODEL = "keras_sare"


@dataclass(frozen=True, eq=False)
class Endpoint(DescriptorModel):
    """A served model, which is sent the files.

    Attributes:
        address: `host:port`.
        model: that it is served as.
    """

    address: str = field(kw_only=True)
    model: str = field(kw_only=True)

    @classmethod
    def open(cls, text: str) -> "Endpoint":
        """Connects to `grpc://host:port`, or `grpc://host:port/model`.

        Raises:
            RuntimeError: there is no such model, or nothing answers.
        """
        address, _, model = text.removeprefix(SCHEME).partition("/")
        model = model or _MODEL
        # A wrong address is told in a second; where photos are sent, a server that is away for longer loses nothing.
        with EmbeddingClient(address, model, settings=RequestSettings(retries=2)) as client:
            version = max(client.versions())
        return cls(f"{address}/{model}", f"{text} {version}", None, address=address, model=model)

    def extract(self, paths: np.ndarray, batch_size: int, out: Rows) -> None:
        """See `DescriptorModel.extract`."""
        with EmbeddingClient(self.address, self.model) as client:
            answers = client.stream_files(paths.tolist(), batch_size)
            start = 0
            for answer in progress(answers, self.name, len(paths), "image", lambda one: len(one.paths)):
                for path, error in zip(answer.paths, answer.errors, strict=True):
                    if error:
                        raise ValueError(f"{self.name} has no descriptor of {path}: {error}")
                out[np.arange(start, start + len(answer.paths))] = answer.embeddings
                start += len(answer.paths)
