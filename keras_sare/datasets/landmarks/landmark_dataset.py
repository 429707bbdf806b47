"""An image-retrieval dataset: queries, the database they are looked up in, and which images show the same thing."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from keras_sare.datasets.images.readable_images import readable_images
from keras_sare.utils.choices import check_choice

PROTOCOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "classic": (("ok",), ("junk",)),
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}
"""Labels that count as right, and labels that are ignored, of each protocol."""

LABELS = ("ok", "easy", "hard", "junk")

_DISJOINT = (("ok", "junk"), ("easy", "hard"), ("easy", "junk"), ("hard", "junk"))


@dataclass(frozen=True, eq=False)
class LandmarkDataset:
    """Queries to be found, and the database of images they are looked up in, with the ground truth as labels.

    Ground truth is that of Oxford5k and Paris6k ("ok" and "junk", Philbin et al., 2007) or of their revisited versions
    ("easy", "hard" and "junk", Radenovic et al., 2018, section 3). A query may be one of the database images too; where
    it must not be found it is labelled "junk".

    Args:
        name: for messages and reports, for example "roxford5k".
        database: [N] files of the images searched; stored as a StringDType array.
        queries: [Q] files of the query images; stored as a StringDType array.
        boxes: [Q, 4] x1, y1, x2, y2 of the object to be found, in pixels of the query image as it is read (see
            `orientation` of `keras_sare.datasets.decode_image`); stored as float64. None where
            the whole image is the object.
        labels: for each query database indices by label, one of `LABELS`; stored as int64, ascending, each index once.
            No image is both right and ignored: "easy", "hard" and "junk" hold different ones, and so do "ok" and
            "junk".

    Raises:
        ValueError: a side has no images, lengths differ, a box is empty, a label is unknown, an index is no image, or
            an image has two labels that exclude each other.
    """

    name: str
    database: np.ndarray
    queries: np.ndarray
    boxes: np.ndarray | None
    labels: tuple[Mapping[str, np.ndarray], ...]

    def __post_init__(self) -> None:
        for side in ("database", "queries"):
            paths = np.asarray(getattr(self, side), dtype=np.dtypes.StringDType())
            object.__setattr__(self, side, paths)
            if paths.ndim != 1 or not len(paths):
                raise ValueError(
                    f"`{side}` must list at least one file: dataset {self.name!r} has none. Check the list it was read "
                    f"from. Received: {side}.shape={paths.shape}"
                )
        if self.boxes is not None:
            object.__setattr__(self, "boxes", self._checked_boxes(self.boxes))
        if len(self.labels) != len(self.queries):
            raise ValueError(
                f"`labels` must hold one entry for each of the {len(self.queries)} queries. "
                f"Received: len(labels)={len(self.labels)}"
            )
        object.__setattr__(self, "labels", tuple(map(self._checked_labels, range(len(self.queries)), self.labels)))

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those of `PROTOCOLS` whose labels all queries have, and under which some query has something to find."""
        named = [
            protocol
            for protocol, (right, ignored) in PROTOCOLS.items()
            if all(set(right + ignored) - {"junk"} <= set(each) for each in self.labels)
        ]
        return tuple(protocol for protocol in named if any(map(len, self.relevant(protocol)[0])))

    def relevant(self, protocol: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Positives and ignored images under a protocol.

        Args:
            protocol: a key of `PROTOCOLS`; a label that a query lacks is one without images.

        Returns:
            Positives and ignored images of each query: two lists of Q int64 arrays of database indices, ascending.

        Raises:
            ValueError: there is no such protocol.
        """
        check_choice("protocol", protocol, PROTOCOLS)
        right, ignored = PROTOCOLS[protocol]
        return [_merged(each, right) for each in self.labels], [_merged(each, ignored) for each in self.labels]

    def with_distractors(self, paths: Sequence[str] | np.ndarray, name: str | None = None) -> "LandmarkDataset":
        """Adds images to the database that are no positive of any query, for example the 100k of Flickr.

        Args:
            paths: [D] files; they follow the present images.
            name: of the larger dataset; by default this one's with the number of distractors, "oxford5k+100071".
        """
        more = np.asarray(paths, dtype=np.dtypes.StringDType())
        return replace(self, name=name or f"{self.name}+{len(more)}", database=np.concatenate([self.database, more]))

    def check_images(
        self, max_corrupt_share: float = 0.01, memory: str | os.PathLike[str] | None = None
    ) -> "LandmarkDataset":
        """Reads and decodes every image file, and leaves out those that fail (Paris6k is known for some twenty).

        Each excluded file is logged as a warning with the reason, up to twenty, then their number.

        Args:
            max_corrupt_share: share of the images, in [0, 1], that may be excluded, of the database and of the queries
                alike. More than that is taken for a wrong folder or an unfinished download.
            memory: folder that remembers which files could be read, until they change; None remembers nothing.

        Returns:
            The dataset without the files that are missing or cannot be decoded; labels name the same images as before.

        Raises:
            ValueError: more images than `max_corrupt_share` fail on a side, or all of them.
        """
        kept = readable_images(self.database, self.name, "database", max_corrupt_share, memory=memory)
        queries = readable_images(self.queries, self.name, "queries", max_corrupt_share, memory=memory)
        new_index = np.full(len(self.database), -1, np.int64)
        new_index[kept] = np.arange(len(kept))
        moved = [{name: new_index[old] for name, old in self.labels[query].items()} for query in queries]
        return LandmarkDataset(
            self.name,
            self.database[kept],
            self.queries[queries],
            None if self.boxes is None else self.boxes[queries],
            tuple({name: new[new >= 0] for name, new in each.items()} for each in moved),
        )

    def _checked_boxes(self, given: np.ndarray) -> np.ndarray:
        boxes = np.asarray(given, np.float64)
        if boxes.shape != (len(self.queries), 4):
            raise ValueError(
                f"`boxes` must be [{len(self.queries)}, 4], x1, y1, x2, y2 of each query. "
                f"Received: boxes.shape={boxes.shape}"
            )
        good = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
        if not good.all():
            first = np.flatnonzero(~good)[0]
            raise ValueError(
                "`boxes` must be finite with x1 < x2 and y1 < y2. "
                f"Received: boxes[{first}]={boxes[first]} of {self.queries[first]}"
            )
        return boxes

    def _checked_labels(self, query: int, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if unknown := set(given) - set(LABELS):
            raise ValueError(f"`labels` must be among {LABELS}. Received: labels[{query}] has {sorted(unknown)}")
        checked = {}
        for label, indices in given.items():
            values = np.asarray(indices)
            if values.ndim != 1 or (len(values) and values.dtype.kind not in "iu"):
                raise ValueError(
                    "`labels` must be flat lists of integers. "
                    f"Received: labels[{query}][{label!r}] of dtype {values.dtype}, shape {values.shape}"
                )
            checked[label] = np.unique(values.astype(np.int64))
            if len(values) and not 0 <= values.min() <= values.max() < len(self.database):
                raise ValueError(
                    f"`labels` must be indices of the {len(self.database)} database images. "
                    f"Received: labels[{query}][{label!r}] from {values.min()} to {values.max()}"
                )
        for one, other in _DISJOINT:
            both = np.intersect1d(checked.get(one, ()), checked.get(other, ()))
            if len(both):
                raise ValueError(
                    f"`labels` must not give an image both {one!r} and {other!r}: no ranking could be measured. "
                    f"Received: {len(both)} such images of labels[{query}], first {int(both[0])}"
                )
        return checked


def _merged(labels: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *(labels[name] for name in names if name in labels)]))
