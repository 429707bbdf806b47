"""Several requests computed as one."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2

from serving.errors import RequestError
from serving.limits import Limits
from serving.models.model import ServedModel

Inputs = Mapping[str, tensor_pb2.TensorProto]
Outputs = dict[str, np.ndarray]


def bucket(inputs: Inputs) -> tuple[tuple[str, int, tuple[int, ...]], ...] | None:
    """What the inputs of requests that can be computed as one have in common: names, types and shapes of a row.

    Args:
        inputs: of a request.

    Returns:
        None where the request cannot be joined with others: its inputs do not have the same number of rows.
    """
    shapes = {name: [dim.size for dim in tensor.tensor_shape.dim] for name, tensor in inputs.items()}
    if not shapes or not all(shapes.values()) or len({shape[0] for shape in shapes.values()}) != 1:
        return None
    return tuple(sorted((name, inputs[name].dtype, tuple(shape[1:])) for name, shape in shapes.items()))


def predict_batch(
    model: ServedModel,
    signature_name: str,
    requests: Sequence[Inputs],
    output_filter: Iterable[str],
    limits: Limits,
    time_left: Callable[[], float],
) -> list[Outputs | RequestError]:
    """Runs one signature for several requests.

    A signature is meant whose outputs have a row for each row of the inputs. Where others come out, or the computation
    of all fails, each request is computed by itself, so that one with a damaged image fails alone.

    Args:
        model: to run.
        signature_name: see `ServedModel.predict`.
        requests: the inputs of each, of the same `bucket`.
        output_filter: names of the wanted outputs; empty for all of them.
        limits: of each request.
        time_left: seconds until the last deadline of the clients.

    Returns:
        The outputs or the error of each request.
    """
    outputs = list(output_filter)

    def alone(inputs: Inputs) -> Outputs | RequestError:
        try:
            return model.predict(signature_name, inputs, outputs, limits, time_left)
        except RequestError as error:
            return error.without_frames()

    if len(requests) > 1:
        try:
            feeds = [model.read(signature_name, inputs, outputs, limits) for inputs in requests]
            rows = [len(next(iter(feed.values()))) for feed in feeds]
            joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
            result = model.run(signature_name, joined, outputs, limits, time_left)
        except RequestError as error:
            if error.code == grpc.StatusCode.DEADLINE_EXCEEDED:
                return [error.without_frames()] * len(requests)
        else:
            if all(array.ndim and len(array) == sum(rows) for array in result.values()):
                return _split(result, rows)
    return [alone(inputs) for inputs in requests]


def _split(outputs: Outputs, rows: Sequence[int]) -> list[Outputs | RequestError]:
    ends = np.cumsum(rows)[:-1]
    parts = {name: np.split(array, ends) for name, array in outputs.items()}
    return [{name: parts[name][number] for name in outputs} for number in range(len(rows))]
