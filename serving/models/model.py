"""One version of a SavedModel, loaded and ready to run."""

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.errors import RequestError
from serving.limits import Limits
from serving.wire.signature import Signature

DEFAULT_SIGNATURE = "serving_default"
_LIMITS = Limits()
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
"""By the numbers that TensorFlow has for them, too."""

_LONGEST_SECONDS = 1e6
# What TensorFlow adds to the texts of errors: where in the graph they arose.
_NODES = re.compile(r"\n\t \[\[[^\n]*\]\]|\{\{(?:function_)?node [^}]*\}\} ?")


class ServedModel:
    """Loads one version of a SavedModel and runs its signatures. Safe to call from several threads.

    The graph runs in a session, as in TensorFlow Serving, rather than as a function of `tf.saved_model.load`: a fetch
    computes only the outputs asked for, and an error of the graph has the same text as there.

    Args:
        folder: folder with `saved_model.pb` and `variables/`.
        version: number the version is known by.
        digest: SHA-256 of the folder, by which place indexes know the model; empty where nobody asks for it.

    Raises:
        FileNotFoundError: `folder` holds no SavedModel.
        ValueError: the SavedModel is damaged or of another kind.
    """

    def __init__(self, folder: str | os.PathLike[str], version: int, digest: str = "") -> None:
        if not (Path(folder) / "saved_model.pb").is_file():
            raise FileNotFoundError(
                f"`folder` must hold a SavedModel, and there is no saved_model.pb in it; "
                f"export the model again. Received: folder={folder}"
            )
        self.version = version
        self.digest = digest
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        try:
            self.signature_defs = _load(self._session, folder)
        except ValueError:
            self.close()
            raise
        self._signatures = {name: Signature(definition) for name, definition in self.signature_defs.items()}

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Iterable[str] = (),
        limits: Limits | None = _LIMITS,
        time_left: Callable[[], float] = lambda: math.inf,
    ) -> dict[str, np.ndarray]:
        """Runs one signature.

        Args:
            signature_name: key of the signature, as in `serving_default`.
            inputs: input name to tensor.
            output_filter: names of the wanted outputs; empty for all of them.
            limits: of the inputs and of the time. None for requests of one's own, such as warm-up: of any size, and
                one value may stand for a whole tensor.
            time_left: asked before the graph is run for the seconds until the client's deadline. At the deadline no
                further operation of the graph begins; one that runs, such as the decoding of an image, is waited for.

        Returns:
            Output name to values.

        Raises:
            RequestError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs or output names that
                do not match it or go beyond the limits, DEADLINE_EXCEEDED where the time is over, or the code of the
                graph's own error, such as INVALID_ARGUMENT for a broken image.
        """
        feeds = self.read(signature_name, inputs, output_filter, limits)
        return self.run(signature_name, feeds, output_filter, limits, time_left)

    def read(
        self,
        signature_name: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Iterable[str],
        limits: Limits | None,
    ) -> dict[str, np.ndarray]:
        """The first part of `predict`: reads the inputs and compares them and the outputs with the signature.

        Returns:
            Name of a tensor in the graph to its values.
        """
        signature = self._signature(signature_name)
        feeds = signature.feeds(inputs, limits)
        signature.fetches(output_filter)
        signature.check_feeds(feeds)
        return feeds

    def run(
        self,
        signature_name: str,
        feeds: Mapping[str, np.ndarray],
        output_filter: Iterable[str],
        limits: Limits | None,
        time_left: Callable[[], float],
    ) -> dict[str, np.ndarray]:
        """The second part of `predict`: runs the graph.

        Returns:
            Output name to values.
        """
        fetches = self._signature(signature_name).fetches(output_filter)
        options = _run_options(min(time_left(), limits.seconds if limits else math.inf))
        try:
            return self._session.run(fetches, feeds, options)
        except tf.errors.DeadlineExceededError as error:
            text = f"Timed out: the computation may take as long as its client waits{_at_most(limits)}"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, text, "deadline") from error
        except tf.errors.OpError as error:
            raise RequestError(STATUS_CODES[error.error_code], _graph_text(error)) from error

    def _signature(self, name: str) -> Signature:
        signature = self._signatures.get(name)
        if signature is None:
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        return signature

    def close(self) -> None:
        """Frees the weights. No signature may be run any more."""
        self._session.close()
        # The session's end frees them, not its closing.
        del self._session


def _load(session: tf.compat.v1.Session, folder: str | os.PathLike[str]) -> dict[str, meta_graph_pb2.SignatureDef]:
    try:
        with session.graph.as_default():
            bundle = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], os.fspath(folder))
    except Exception as error:  # The loader raises what it likes.
        text = _graph_text(error) if isinstance(error, tf.errors.OpError) else str(error)
        raise ValueError(
            f"`folder` must hold a SavedModel that TensorFlow can load; this one is damaged or of another kind. Export "
            f"the model again. Received: folder={folder}, which fails with: {text.strip().partition(chr(10))[0]}"
        ) from error
    session.graph.finalize()
    return dict(bundle.signature_def)


def _run_options(seconds: float) -> tf.compat.v1.RunOptions:
    milliseconds = math.floor(1000 * min(seconds, _LONGEST_SECONDS))
    # TensorFlow takes 0 for "no limit".
    if milliseconds < 1:
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, "The deadline was over before the computation began")
    return tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)


def _at_most(limits: Limits | None) -> str:
    return "" if limits is None else f", and at most {limits.seconds:g} s (`max_seconds`)"


def _graph_text(error: tf.errors.OpError) -> str:
    """The text of the graph's error before the Python session wrapped it into a report of its own, without nodes."""
    original = error.__context__
    text = original.message if isinstance(original, tf.errors.OpError) else error.message
    return _NODES.sub("", text)
