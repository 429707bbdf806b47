"""Database images that share a label with a query."""

import numpy as np

from keras_sare.utils.arguments import plain_arguments


@plain_arguments
def same_group(query_groups: np.ndarray, database_groups: np.ndarray) -> list[np.ndarray]:
    """Finds, for each query, the database images of its own group, for instance of the same traversal.

    Pass the result as `exclude` of `evaluate` to measure recall across traversals. All arrays are views of one sorted
    index: memory grows with queries + database, not with the number of pairs.

    Args:
        query_groups: `[Q]` labels, numbers or text.
        database_groups: `[N]` labels of the same kind.

    Returns:
        `Q` read-only int64 arrays of database indices, rising; empty where no image has the query's label.

    Raises:
        ValueError: labels are not flat, or one side is text and the other is not.
    """
    query_groups = np.asarray(query_groups)
    database_groups = np.asarray(database_groups)
    if query_groups.ndim != 1 or database_groups.ndim != 1:
        raise ValueError(
            "`query_groups` and `database_groups` must be flat, one label per image. "
            f"Received: query_groups.shape={query_groups.shape}, database_groups.shape={database_groups.shape}"
        )
    if len(query_groups) and len(database_groups) and _is_text(query_groups) != _is_text(database_groups):
        raise ValueError(
            "`query_groups` and `database_groups` must both be text or both be numbers, or nothing would ever match. "
            f"Received: query_groups.dtype={query_groups.dtype}, database_groups.dtype={database_groups.dtype}"
        )
    # Numbers instead of labels: numpy 2.4 searches arrays of variable-width text wrongly (its issue 31533).
    numbers = np.unique(np.concatenate([database_groups, query_groups]), return_inverse=True)[1]
    database_numbers, query_numbers = np.split(numbers, [len(database_groups)])
    order = np.argsort(database_numbers, kind="stable").astype(np.int64)
    order.flags.writeable = False
    ordered = database_numbers[order]
    starts = np.searchsorted(ordered, query_numbers, side="left")
    ends = np.searchsorted(ordered, query_numbers, side="right")
    return [order[start:end] for start, end in zip(starts, ends, strict=True)]


def _is_text(labels: np.ndarray) -> bool:
    return labels.dtype.kind not in "biuf"
