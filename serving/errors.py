"""The error a request is answered with."""

import grpc

MAX_DETAILS = 1024


class RequestError(Exception):
    """A request that cannot be served: the gRPC status code and the text the client receives.

    Args:
        code: status code of the answer.
        text: explanation for the client. TensorFlow Serving's own wording where it has one.
        limit: name of the limit that refuses the request, as in `max_images`; empty for other reasons.
    """

    def __init__(self, code: grpc.StatusCode, text: str, limit: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.limit = limit

    @property
    def details(self) -> str:
        """The text as it is sent: cut after 1024 bytes, as TensorFlow Serving does (gRPC sends it in a header)."""
        encoded = self.text.encode()
        if len(encoded) <= MAX_DETAILS:
            return self.text
        return encoded[:MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"

    def without_frames(self) -> "RequestError":
        """The same error without where it was raised.

        An error holds the frames that it went through. Where one of them holds the error, the request that failed stays
        in memory until the garbage collector comes by, which among TensorFlow's many objects is seldom.
        """
        return RequestError(self.code, self.text, self.limit)


def invalid_argument(text: str, limit: str = "") -> RequestError:
    """The most frequent error: the request itself is wrong."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, text, limit)


def exhausted(text: str, limit: str) -> RequestError:
    """The server, or the client's share of it, is used up."""
    return RequestError(grpc.StatusCode.RESOURCE_EXHAUSTED, text, limit)
