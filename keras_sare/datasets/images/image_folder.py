"""Image files of a landmark dataset, found by the names that its lists give them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

EXTENSIONS = (".jpg", ".jpeg", ".png")


class ImageFolder:
    """The image files under a folder, sub-folders included; recognised by their extension; nothing is opened.

    Args:
        folder: where the images are.

    Attributes:
        files: paths relative to the folder, with "/", sorted.

    Raises:
        ValueError: there is no such folder, or no image under it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"`images` must be the folder with the image files. Received: images={folder}")
        found = (
            Path(where, name).relative_to(self.folder).as_posix()
            for where, _, names in os.walk(self.folder, followlinks=True)
            for name in names
            if name.lower().endswith(EXTENSIONS) and not name.startswith(".")
        )
        self.files = sorted(found)
        if not self.files:
            raise ValueError(f"`images` must hold {', '.join(EXTENSIONS)} files. Received: images={folder}")
        # Where two files differ in their extension alone, the first of `EXTENSIONS` is meant.
        by_preference = sorted(self.files, key=lambda file: EXTENSIONS.index(Path(file).suffix.lower()), reverse=True)
        self._by_name = {_stem(file): file for file in by_preference} | {file: file for file in self.files}
        self._by_last_part: dict[str, list[str]] = {}
        for file in self.files:
            self._by_last_part.setdefault(_stem(file).rpartition("/")[2], []).append(file)

    def paths(self) -> np.ndarray:
        """All files: StringDType [N]."""
        return self._full(self.files)

    def find(self, names: Sequence[str], listed_in: str | os.PathLike[str]) -> np.ndarray:
        """Finds the files that a list names.

        Args:
            names: [N] with or without extension, relative to the folder; a file in a sub-folder is also found by its
                name alone, if no other has that name (Paris6k keeps its images by landmark).
            listed_in: the list, for messages.

        Returns:
            Paths, StringDType [N].

        Raises:
            ValueError: files are missing, or a name fits several files.
        """
        files = [self._find(name) for name in names]
        missing = [name for name, file in zip(names, files, strict=True) if file is None]
        if missing:
            raise ValueError(
                f"`images` must hold the images that {listed_in} names; {len(missing)} of {len(names)} are missing, "
                f"first {', '.join(missing[:3])}. Received: images={self.folder}"
            )
        return self._full([file for file in files if file is not None])

    def _find(self, name: str) -> str | None:
        name = name.replace("\\", "/").removeprefix("./")
        if name in self._by_name:
            return self._by_name[name]
        stem = _stem(name) if name.lower().endswith(EXTENSIONS) else name
        alike = self._by_last_part.get(stem, [])
        if len({_stem(file) for file in alike}) > 1:
            raise ValueError(
                f"`images` must hold one image for each name; {name} may be {alike[0]} or {alike[1]}. "
                f"Received: images={self.folder}"
            )
        return self._by_name[_stem(alike[0])] if alike else None

    def _full(self, files: Sequence[str]) -> np.ndarray:
        return np.array([os.path.join(self.folder, file) for file in files], dtype=np.dtypes.StringDType())


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]
