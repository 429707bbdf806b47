"""The error a request is answered with."""

import grpc

MAX_DETAILS = 1024


class RequestError(Exception):
    """A request that cannot be served: the gRPC status code and the text the client receives.

    Args:
        code: status code of the answer.
        text: explanation for the client. TensorFlow Serving's own wording where it has one.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def details(self) -> str:
        """The text as it is sent: cut after 1024 bytes, as TensorFlow Serving does (gRPC sends it in a header)."""
        encoded = self.text.encode()
        if len(encoded) <= MAX_DETAILS:
            return self.text
        return encoded[:MAX_DETAILS].decode(errors="ignore") + "...TRUNCATED"


def invalid_argument(text: str) -> RequestError:
    """The most frequent error: the request itself is wrong."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, text)
