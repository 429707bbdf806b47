"""What an extraction remembers beside its photos, so that a killed one goes on: `extraction.json`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keras_sare.datasets.photo_sources.photo_source import Cursor
from keras_sare.localization import PlaceIndex
from keras_sare.utils.files import atomic_path

FILE = "extraction.json"
FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """How far an extraction has come.

    Attributes:
        shards: that are written.
        after: where the source goes on.
        photos: with a descriptor.
        left_out: without one.
    """

    shards: int = 0
    after: Cursor = ()
    photos: int = 0
    left_out: int = 0

    @property
    def seen(self) -> int:
        """Photos with a descriptor and without."""
        return self.photos + self.left_out


@dataclass(frozen=True)
class Writing:
    """A shard whose photos are complete, and may be in the index or not yet.

    Attributes:
        progress: once it is.
        version: of the index before.
        first: name of its first photo; empty where none has a descriptor.
    """

    progress: Progress
    version: int
    first: str

    def is_there(self, index: PlaceIndex) -> bool:
        """Whether Lance had committed it when the process was killed."""
        return not self.first or (index.version > self.version and index.holds(self.first))


@dataclass(frozen=True)
class ExtractionRecord:
    """What stands in the file.

    Attributes:
        settings: that all shards share.
        source: what tells that the source is the same.
        progress: as of the last shard.
        writing: the shard that is being written, when it is complete.
    """

    settings: Mapping[str, Any]
    source: Mapping[str, Any]
    progress: Progress = Progress()
    writing: Writing | None = None

    def write(self, folder: Path) -> None:
        """Writes it; it appears whole or not at all."""
        with atomic_path(folder / FILE) as path:
            path.write_text(json.dumps(asdict(self) | {"format": FORMAT}, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "ExtractionRecord":
        """Reads it.

        Raises:
            FileNotFoundError: there is none.
            ValueError: it is damaged, or a later version wrote it.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] > FORMAT:
                raise ValueError(f"a later version wrote it (format {values['format']}, here {FORMAT})")
            writing = values["writing"]
            return cls(
                values["settings"],
                values["source"],
                Progress(**values["progress"]),
                None if writing is None else Writing(**{**writing, "progress": Progress(**writing["progress"])}),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{str(path)!r} is damaged: {error}. Name another output") from error

    def settled(self, index: PlaceIndex) -> "ExtractionRecord":
        """The record after a kill: with the shard that was being written, or without it."""
        if self.writing is None:
            return self
        progress = self.writing.progress if self.writing.is_there(index) else self.progress
        return replace(self, progress=progress, writing=None)

    def check_same(self, settings: Mapping[str, Any], source: Mapping[str, Any], folder: Path) -> None:
        """Checks that a start goes on with what an earlier one began.

        Raises:
            ValueError: it has other settings, or the source has changed.
        """
        written = json.loads(json.dumps([settings, source]))
        for before, now in zip((self.settings, self.source), written, strict=True):
            if different := [name for name in now if now[name] != before.get(name)]:
                name = different[0]
                raise ValueError(
                    f"An extraction must go on with what it was begun with; name another output for another. Received: "
                    f"{name}={now[name]!r}, where {str(folder)!r} has {before.get(name)!r}"
                )
