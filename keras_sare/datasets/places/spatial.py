"""Which images lie near which: radius queries on positions in metres."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from keras_sare.utils.arguments import plain_arguments

# Queries looked up at a time: what a block finds is held as (query, database, distance) records before it is packed.
_BLOCK = 4096
_WGS84_SEMI_MAJOR_AXIS = 6378137.0
_WGS84_FLATTENING = 1 / 298.257223563


@dataclass(frozen=True, eq=False)
class Neighbours(Sequence[np.ndarray]):
    """For each query the database images found for it, in two flat arrays (compressed sparse rows).

    `neighbours[i]` is the int64 array of the database indices found for query `i`, ascending: a view, not a copy.

    Args:
        offsets: int64 [Q + 1]; query `i` owns `indices[offsets[i]:offsets[i + 1]]`.
        indices: int64 [total], positions in the database.
    """

    offsets: np.ndarray
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, query: int) -> np.ndarray:  # type: ignore[override]  # one row at a time, no slices
        if not -len(self) <= query < len(self):
            raise IndexError(f"`query` must be in [-{len(self)}, {len(self)}). Received: query={query}")
        query %= len(self)
        return self.indices[self.offsets[query] : self.offsets[query + 1]]

    @property
    def counts(self) -> np.ndarray:
        """Number of database images found for each query: int64 [Q]."""
        return np.diff(self.offsets)

    @property
    def queries(self) -> np.ndarray:
        """The query that each of `indices` was found for: int64 [total]."""
        return np.repeat(np.arange(len(self)), self.counts)

    def where(self, keep: np.ndarray) -> "Neighbours":
        """Keeps the entries where `keep` is true (bool [total])."""
        counts = np.bincount(self.queries[keep], minlength=len(self))
        return Neighbours(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), self.indices[keep])

    @classmethod
    def of(cls, rows: Sequence[np.ndarray]) -> "Neighbours":
        """Packs what was found for each query: int64 arrays, ascending."""
        offsets = np.cumsum([0, *map(len, rows)])
        return cls(offsets, np.concatenate([np.zeros(0, np.int64), *rows]))


@plain_arguments
def neighbours_within(
    queries: np.ndarray, database: np.ndarray, radius: float, exclude_within: float = 0.0
) -> Neighbours:
    """Finds for each query the database images at a distance d with exclude_within < d <= radius.

    `exclude_within=0` excludes nothing: an image at the query's very position (d = 0) counts too. NetVLAD's training
    positives (Arandjelovic et al., 2016, and its published code) are `radius=10, exclude_within=1`: the lower bound
    drops other views of the same panorama. Queries are looked up block by block, so beside the result only one block
    is in memory.

    Args:
        queries: [Q, D] positions in metres.
        database: [N, D] positions in metres, in the same coordinate system.
        radius: upper bound in metres, inclusive, above `exclude_within`.
        exclude_within: lower bound in metres, exclusive; 0 excludes nothing, not even d = 0.

    Returns:
        `Neighbours` with one row for each query, indices ascending in each.

    Raises:
        ValueError: the bounds are not 0 <= exclude_within < radius, or the shapes do not fit.
    """
    queries = np.asarray(queries, np.float64)
    database = np.asarray(database, np.float64)
    if not 0 <= exclude_within < radius:
        raise ValueError(
            "`radius` and `exclude_within` are metres with 0 <= exclude_within < radius. "
            f"Received: radius={radius}, exclude_within={exclude_within}"
        )
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(
            "`queries` and `database` must be [Q, D] and [N, D] positions in one coordinate system. "
            f"Received: queries.shape={queries.shape}, database.shape={database.shape}"
        )
    tree = cKDTree(database)
    starts = range(0, len(queries), _BLOCK)
    found = [_block_neighbours(queries[start : start + _BLOCK], tree, radius, exclude_within) for start in starts]
    counts = np.concatenate([np.zeros(1, np.int64), *(counts for counts, _ in found)])
    indices = np.concatenate([np.zeros(0, np.int64), *(indices for _, indices in found)])
    return Neighbours(np.cumsum(counts), indices)


def _block_neighbours(
    queries: np.ndarray, tree: cKDTree, radius: float, exclude_within: float
) -> tuple[np.ndarray, np.ndarray]:
    pairs = cKDTree(queries).sparse_distance_matrix(tree, radius, output_type="ndarray")
    if exclude_within > 0:
        pairs = pairs[pairs["v"] > exclude_within]
    pairs = pairs[np.lexsort((pairs["j"], pairs["i"]))]
    return np.bincount(pairs["i"], minlength=len(queries)), pairs["j"].astype(np.int64)


@plain_arguments
def earth_centred(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Converts WGS84 degrees to earth-centred, earth-fixed metres.

    The straight distance between two such points is right anywhere on the globe, across the date line and at the
    poles, so one search tree serves a dataset that spans cities or continents. UTM would need a zone for each place,
    and distances across a zone's border would be wrong. Over 1 km the chord is shorter than the way along the ground
    by one micrometre. Heights are taken as zero: at an altitude of 2000 m distances come out 0.03 % short.

    Args:
        latitude: [N] degrees in [-90, 90].
        longitude: [N] degrees in [-180, 180].

    Returns:
        float64 [N, 3] positions in metres.

    Raises:
        ValueError: a value is outside its range or not finite.
    """
    latitude = np.asarray(latitude, np.float64)
    longitude = np.asarray(longitude, np.float64)
    for name, values, limit in (("latitude", latitude, 90), ("longitude", longitude, 180)):
        outside = np.flatnonzero(~(np.abs(values) <= limit))
        if len(outside):
            first = outside[0]
            raise ValueError(
                f"`{name}` must be degrees in [-{limit}, {limit}]. Received: {name}[{first}]={values[first]}"
            )
    phi = np.radians(latitude)
    lam = np.radians(longitude)
    squared_eccentricity = _WGS84_FLATTENING * (2 - _WGS84_FLATTENING)
    normal = _WGS84_SEMI_MAJOR_AXIS / np.sqrt(1 - squared_eccentricity * np.sin(phi) ** 2)
    across = normal * np.cos(phi)
    return np.stack(
        [across * np.cos(lam), across * np.sin(lam), normal * (1 - squared_eccentricity) * np.sin(phi)], axis=-1
    )


def geodetic(positions: np.ndarray) -> np.ndarray:
    """The other way round from `earth_centred`, for points on the ground or within kilometres of it.

    Args:
        positions: [N, 3] earth-centred metres.

    Returns:
        float64 [N, 2]: latitude and longitude in WGS84 degrees; NaN where a position is.
    """
    x, y, z = np.moveaxis(np.asarray(positions, np.float64), -1, 0)
    squared_eccentricity = _WGS84_FLATTENING * (2 - _WGS84_FLATTENING)
    latitude = np.arctan2(z, (1 - squared_eccentricity) * np.hypot(x, y))
    return np.degrees(np.stack([latitude, np.arctan2(y, x)], axis=-1))
