"""What a place index says of itself: `index.json` in its folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keras_sare.localization.calibration import Calibration
from keras_sare.localization.place_rows import AXES
from keras_sare.utils.choices import check_choice
from keras_sare.utils.files import atomic_path

FILE = "index.json"
FORMAT = 1
"""Of the folder; a higher one is refused."""

_LARGEST_FILE = 1 << 20
_LARGEST_DIM = 1 << 16


@dataclass(frozen=True)
class IndexRecord:
    """What does not change while photos come and go.

    Attributes:
        model: digest of the model that the descriptors come from; photos of another are refused.
        model_name: for people.
        dim: length of the descriptors.
        kind: key of `AXES`, what a position is.
        preprocessing: how photos are read for the model, as its manifest says; empty where it reads files itself.
        exact_rows: photos up to which every descriptor is compared; beyond, an approximate index proposes, and the
            descriptors decide.
        calibration: how sure answers are; None where the index was not calibrated.
        reranked: how sure answers are that local features re-ranked; None likewise.
    """

    model: str
    model_name: str
    dim: int
    kind: str = "metres"
    preprocessing: Mapping[str, Any] | None = None
    exact_rows: int = 200_000
    calibration: Calibration | None = None
    reranked: Calibration | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, AXES)
        if not 0 < self.dim <= _LARGEST_DIM:
            raise ValueError(f"`dim` must be from 1 to {_LARGEST_DIM}. Received: dim={self.dim}")

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the columns of a position."""
        return AXES[self.kind]

    def calibrated(self, calibration: Calibration | None) -> "IndexRecord":
        """The same with another calibration, of answers as they are or of re-ranked ones; None removes both."""
        if calibration is None:
            return replace(self, calibration=None, reranked=None)
        if calibration.counts_inliers:
            return replace(self, reranked=calibration)
        return replace(self, calibration=calibration)

    def write(self, folder: Path) -> None:
        """Writes it into the folder of an index; it appears whole or not at all."""
        values = asdict(self) | {"format": FORMAT}
        with atomic_path(folder / FILE) as path:
            path.write_text(json.dumps(values, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "IndexRecord":
        """Reads it.

        Raises:
            FileNotFoundError: `folder` is no place index.
            ValueError: the file is damaged, or a later version wrote it.
        """
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"`index` must be the folder of a place index, with {FILE}; build one with "
                f"python -m serving.index build. Received: index={str(folder)!r}"
            )
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls._parsed(values)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"{str(path)!r} is damaged: {error}. Build the index anew") from error

    @classmethod
    def _parsed(cls, values: Mapping[str, Any]) -> "IndexRecord":
        if values["format"] > FORMAT:
            raise ValueError(f"a later version wrote it (format {values['format']}, here {FORMAT})")
        calibrations = {"calibration": values["calibration"], "reranked": values.get("reranked")}
        return cls(
            model=str(values["model"]),
            model_name=str(values["model_name"]),
            dim=int(values["dim"]),
            kind=values["kind"],
            preprocessing=values["preprocessing"],
            exact_rows=int(values["exact_rows"]),
            **{name: None if one is None else Calibration.from_json(one) for name, one in calibrations.items()},
        )
