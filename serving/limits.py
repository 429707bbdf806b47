"""What a request may ask for at most, and all requests together."""

from dataclasses import dataclass

MAX_RANK = 32


@dataclass(frozen=True)
class Limits:
    """Bounds that keep what a stranger sends from taking the server's memory and time.

    Attributes:
        message_bytes: bytes of a request.
        images: images in a request: strings of a string tensor, or rows of a tensor of four dimensions. Their
            activations are in memory together.
        values: values of a tensor. A network's activations need up to some hundred bytes for each.
        seconds: that a request may be computed, where its client allows more.
        bytes_in_flight: bytes of all requests that were received and are not answered. Parsed, they take up to about
            three times as much. As many requests are received at a time as have so many bytes at most.
        receive_seconds: that a request may take to arrive.
    """

    message_bytes: int = 64 * 2**20
    images: int = 16
    values: int = 2**23
    seconds: float = 60.0
    bytes_in_flight: int = 512 * 2**20
    receive_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("message_bytes", "images", "values", "bytes_in_flight"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={getattr(self, name)}")
        for name in ("seconds", "receive_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive. Received: {name}={getattr(self, name)}")
