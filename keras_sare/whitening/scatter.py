"""Scatter of a stream of centred rows, whole or in bounded memory."""

import math
from typing import Protocol

import numpy as np

from keras_sare.whitening.spectrum import EPSILON, add_product, blocks, leading, leading_variances

_COLUMNS = 1024


class Scatter(Protocol):
    """The sum of r^T r over rows r, in one form or another."""

    missed: float
    """No direction's sum falls short of the true one by more than this."""

    def add(self, rows: np.ndarray) -> None:
        """Adds rows, float64 `[n, D]`."""

    def whiten(self, count: int, dim: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Returns projection `[D, dim]`, variances and the share they hold. The D x D matrix is used up."""


class FullScatter:
    """The D x D matrix itself.

    Args:
        features: D.
    """

    missed = 0.0

    def __init__(self, features: int) -> None:
        self._matrix = np.zeros((features, features), order="F")

    @staticmethod
    def needed_bytes(features: int) -> int:
        """Most memory that it takes: the matrix, and twice as much for its eigenvectors."""
        return 24 * features**2

    def add(self, rows: np.ndarray) -> None:
        self._matrix = add_product(self._matrix, rows)

    def whiten(self, count: int, dim: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        eigenvalues, vectors, share = leading_variances(self._matrix, count, dim, mean)
        projection = np.ascontiguousarray(vectors / np.sqrt(eigenvalues + EPSILON), dtype=np.float32)
        return projection, eigenvalues, share


class SketchedScatter:
    """At most so many rows whose scatter is close to that of all rows, and equal while all of them fit.

    When the rows are full, the first half of their principal directions, scaled, replaces them (incremental SVD, Levy
    and Lindenbaum, IEEE TIP 2000). What is dropped is never more in any direction than the largest eigenvalue dropped;
    `missed` adds these up.

    Args:
        features: D.
        capacity: rows held, at least 2.
    """

    def __init__(self, features: int, capacity: int) -> None:
        self.missed = 0.0
        self._rows = np.empty((capacity, features))
        self._filled = 0

    @staticmethod
    def needed_bytes(features: int, capacity: int) -> int:
        """Most memory that it takes: the rows, their Gram matrix, and twice as much for its eigenvectors."""
        return 8 * capacity * features + 24 * capacity**2

    @staticmethod
    def capacity_within(limit_bytes: float, features: int) -> int:
        """Returns the largest capacity for which `needed_bytes` is within a limit."""
        return int((math.sqrt(features**2 + 1.5 * limit_bytes) - features) / 6)

    @property
    def room(self) -> int:
        """Rows that still fit."""
        return len(self._rows) - self._filled

    def as_matrix(self) -> FullScatter:
        """Returns the D x D matrix of the rows held."""
        matrix = FullScatter(self._rows.shape[1])
        if self._filled:  # BLAS refuses a product of no rows.
            matrix.add(self._rows[: self._filled])
        return matrix

    def add(self, rows: np.ndarray) -> None:
        while len(rows):
            if not self.room:
                self._compress()
            fitting = rows[: self.room]
            self._rows[self._filled : self._filled + len(fitting)] = fitting
            self._filled += len(fitting)
            rows = rows[len(fitting) :]

    def whiten(self, count: int, dim: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        eigenvalues, vectors, share = leading_variances(self._gram(), count, dim, mean)
        vectors /= np.sqrt((count - 1) * eigenvalues * (eigenvalues + EPSILON))
        projection = np.empty((self._rows.shape[1], dim), np.float32)
        for columns in self._column_blocks():
            projection[columns] = self._rows[: self._filled, columns].T @ vectors
        return projection, eigenvalues, share

    def _compress(self) -> None:
        kept = len(self._rows) // 2
        eigenvalues, vectors = leading(self._gram(), kept + 1)
        self.missed += max(0.0, float(eigenvalues[kept]))
        for columns in self._column_blocks():
            self._rows[:kept, columns] = vectors[:, :kept].T @ self._rows[:, columns]
        self._filled = kept

    def _gram(self) -> np.ndarray:
        gram = np.zeros((self._filled, self._filled), order="F")
        return add_product(gram, self._rows[: self._filled].T)

    def _column_blocks(self) -> list[slice]:
        return blocks(self._rows.shape[1], _COLUMNS)
