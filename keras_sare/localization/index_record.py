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

_FIELDS = {"photos": "calibration", "near": "near", "reranked": "reranked", "walks": "walks"}
"""Of an `IndexRecord`, by the kind of the answers that a calibration is of."""
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
        near: how sure answers are where a rough position was known; None likewise.
        walks: how sure answers are to the photos of a walk; None likewise.
    """

    model: str
    model_name: str
    dim: int
    kind: str = "metres"
    preprocessing: Mapping[str, Any] | None = None
    exact_rows: int = 200_000
    calibration: Calibration | None = None
    reranked: Calibration | None = None
    near: Calibration | None = None
    walks: Calibration | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, AXES)
        if not 0 < self.dim <= _LARGEST_DIM:
            raise ValueError(f"`dim` must be from 1 to {_LARGEST_DIM}. Received: dim={self.dim}")
        wrong = [of for of, one in self.calibrations.items() if one.of != of]
        if wrong or len({one.k for one in self.calibrations.values()}) > 1:
            raise ValueError("Calibrations of an index must be of the kinds that they stand for, and of one `k`")

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the columns of a position."""
        return AXES[self.kind]

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """Those that there are, by the kind of the answers that they are of."""
        found = {of: getattr(self, name) for of, name in _FIELDS.items()}
        return {of: one for of, one in found.items() if one is not None}

    def considered(self, k: int) -> int:
        """Candidates that answers are made of where `k` are asked for: those that the calibrations saw, if any."""
        return next((one.k for one in self.calibrations.values()), k)

    def calibrated(self, *calibrations: Calibration) -> "IndexRecord":
        """The same with other calibrations of the kinds of answers that they are of; without any, with none at all.

        What was made of another number of candidates does not stay.
        """
        made_of = {one.k for one in calibrations}
        kept = [one for one in self.calibrations.values() if one.k in made_of]
        found = {_FIELDS[one.of]: one for one in (*kept, *calibrations)}
        changes: dict[str, Any] = {name: found.get(name) for name in _FIELDS.values()}
        return replace(self, **changes)

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
        calibrations = {name: values.get(name) for name in _FIELDS.values()}  # Earlier versions knew two.
        return cls(
            model=str(values["model"]),
            model_name=str(values["model_name"]),
            dim=int(values["dim"]),
            kind=values["kind"],
            preprocessing=values["preprocessing"],
            exact_rows=int(values["exact_rows"]),
            **{name: None if one is None else Calibration.from_json(one) for name, one in calibrations.items()},
        )
