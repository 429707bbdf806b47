"""Checks of arguments that several ways of re-ranking share."""

import numpy as np


def check_norms(rows: np.ndarray, name: str) -> None:
    """Checks that descriptors have norm 1, within what half precision makes of it.

    Args:
        rows: [any number, D].
        name: of the argument that they are part of.

    Raises:
        ValueError: a row has another norm, or is not finite.
    """
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float32, casting="same_kind"))
    off = np.abs(norms - 1)
    # Not `off > ...`: NaN must be told too.
    if len(rows) and not off.max() < 0.01:
        raise ValueError(
            f"`{name}` must hold vectors of norm 1; divide every row by its norm. "
            f"Received: a row of norm {norms[off.argmax()]:g}"
        )


def check_shapes(queries: np.ndarray, database: np.ndarray) -> None:
    """Checks that queries can be compared with a database.

    Args:
        queries: [Q, D].
        database: [N, D].

    Raises:
        ValueError: they are other than that.
    """
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(
            "`queries` and `database` must be [Q, D] and [N, D] with the same D; extract both with the same model. "
            f"Received: queries.shape={queries.shape}, database.shape={database.shape}"
        )


def check_wanted(n: int, database_size: int) -> None:
    """Checks the number of images wanted for a query.

    Args:
        n: that number.
        database_size: number of database rows.

    Raises:
        ValueError: there are not so many, or none is wanted.
    """
    if not 1 <= n <= database_size:
        raise ValueError(f"`n` must be between 1 and the number of database rows, {database_size}. Received: n={n}")


def check_block_rows(block_rows: int) -> None:
    """Checks a number of rows at a time.

    Args:
        block_rows: that number.

    Raises:
        ValueError: it is below 1.
    """
    if block_rows < 1:
        raise ValueError(f"`block_rows` must be at least 1. Received: block_rows={block_rows}")
