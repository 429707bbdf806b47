"""Local features of an index's photos, extracted when they are first asked for and kept in bounded memory."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePath

from keras_sare.local_features import LocalFeatures

logger = logging.getLogger(__name__)


class DatabaseFeatures:
    """Features of photos by their names; those that were not asked for the longest time are forgotten first.

    Args:
        photos: folder that the names are relative to.
        extract: called with the path of a photo; raises ValueError where it cannot be read.
        max_bytes: of the features that are kept.

    Raises:
        NotADirectoryError: `photos` is no folder.
        ValueError: `max_bytes` is negative.
    """

    def __init__(self, photos: str | Path, extract: Callable[[Path], LocalFeatures], max_bytes: int) -> None:
        self._photos = Path(photos)
        if not self._photos.is_dir():
            raise NotADirectoryError(
                f"`photos` must be the folder of the index's photos. Received: photos={str(photos)!r}"
            )
        if max_bytes < 0:
            raise ValueError(f"`max_bytes` must not be negative. Received: max_bytes={max_bytes}")
        self._extract = extract
        self._room = max_bytes
        self._kept: OrderedDict[str, LocalFeatures] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> LocalFeatures | None:
        """Features of a photo; None where it is not there or cannot be read, which is logged."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        features = self._extracted(name)
        if features is not None:
            self._keep(name, features)
        return features

    def _extracted(self, name: str) -> LocalFeatures | None:
        # An index may come from somebody else: its names reach nothing outside of the folder.
        path = PurePath(name)
        if path.is_absolute() or ".." in path.parts:
            logger.warning("Not compared with %r: the name leads out of the folder of photos", name)
            return None
        try:
            return self._extract(self._photos / path)
        except ValueError as error:
            logger.warning("Not compared with %r: %s", name, error)
            return None

    def _keep(self, name: str, features: LocalFeatures) -> None:
        with self._lock:
            known = self._kept.pop(name, None)
            self._room += known.nbytes if known else 0
            self._kept[name] = features
            self._room -= features.nbytes
            while self._room < 0:
                _, oldest = self._kept.popitem(last=False)
                self._room += oldest.nbytes
