"""Images with their positions or the names of their places."""

from dataclasses import dataclass, fields

import numpy as np

from keras_sare.utils.arguments import plain_arguments

_COORDINATE_SYSTEMS = {2: "planar metres", 3: "earth-centred metres"}


@plain_arguments
@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their positions, as parallel arrays: there is no Python object for each image.

    Args:
        paths: [N] file names; stored as a StringDType array.
        positions: [N, 2] planar metres or [N, 3] earth-centred metres (`earth_centred`); stored as float64. None where
            only `places` are known.
        timestamps: optional [N], when an image was taken, as the dataset writes it: to compare, not to calculate with.
        places: [N], name of the place; optional where `positions` are given.
        traversals: optional [N], name of the walk or drive an image was taken on.
        coordinates: optional [N, ...], the position as the dataset lists it, for display (latitude and longitude,
            degrees).
        headings: optional [N], where the camera looks, degrees clockwise from north; NaN where that is not known.
            Stored as float64.
        frames: optional [N], number of the image in a video; images of several videos that show the same way frame by
            frame (Nordland) have equal numbers. NaN where there is none. Stored as float64.
        conditions: optional [N], name of the light, weather or season ("night"), by which results are reported apart.

    Raises:
        ValueError: an array is not of length N, `positions` has another shape or a value that is not finite, an image
            has neither a position nor a place, or a heading or a frame is infinite.
    """

    paths: np.ndarray
    positions: np.ndarray | None = None
    timestamps: np.ndarray | None = None
    places: np.ndarray | None = None
    traversals: np.ndarray | None = None
    coordinates: np.ndarray | None = None
    headings: np.ndarray | None = None
    frames: np.ndarray | None = None
    conditions: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", np.asarray(self.paths, dtype=np.dtypes.StringDType()))
        if self.positions is not None:
            object.__setattr__(self, "positions", _checked_shape(np.asarray(self.positions, dtype=np.float64)))
        for name in ("headings", "frames"):
            self._store_numbers(name)
        for name, values in self._arrays().items():
            if len(values) != len(self.paths):
                raise ValueError(
                    f"`{name}` must hold one entry for each of the {len(self.paths)} `paths`. "
                    f"Received: len({name})={len(values)}"
                )
        self._check_coordinate_system()

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def coordinate_system(self) -> str:
        """How the images are located: "planar metres", "earth-centred metres" or "places only"."""
        return "places only" if self.positions is None else _COORDINATE_SYSTEMS[self.positions.shape[1]]

    @property
    def given_positions(self) -> np.ndarray | None:
        """Positions as the dataset gives them, [N, 2 or 3]: `coordinates` where it lists those, else `positions`."""
        return self.positions if self.coordinates is None else self.coordinates

    @plain_arguments
    def subset(self, keep_indices: np.ndarray) -> "ImageSet":
        """Returns the images at `keep_indices` (int [K]), in that order."""
        return ImageSet(**{name: values[keep_indices] for name, values in self._arrays().items()})

    def followed_by(self, others: "ImageSet") -> "ImageSet":
        """Returns these images and then `others`, with what is known of both."""
        mine = self._arrays()
        theirs = others._arrays()
        return ImageSet(**{name: np.concatenate([mine[name], theirs[name]]) for name in mine if name in theirs})

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in arrays.items() if values is not None}

    def _store_numbers(self, name: str) -> None:
        if getattr(self, name) is None:
            return
        values = np.asarray(getattr(self, name), dtype=np.float64)
        if values.ndim != 1 or np.isinf(values).any():
            raise ValueError(
                f"`{name}` must be [{len(self.paths)}] numbers, or NaN where there is none. "
                f"Received: {name}.shape={values.shape}, {np.isinf(values).sum()} infinite"
            )
        object.__setattr__(self, name, values)

    def _check_coordinate_system(self) -> None:
        if self.positions is not None:
            unknown = np.flatnonzero(~np.isfinite(self.positions).all(axis=1))
            if len(unknown):
                first = unknown[0]
                raise ValueError(
                    f"`positions` must be finite; {len(unknown)} are not: leave those images out. "
                    f"Received: positions[{first}]={self.positions[first]} of {self.paths[first]}"
                )
        elif self.places is None:
            raise ValueError("`positions` or `places` must say where the images are. Received: neither")
        elif len(unnamed := np.flatnonzero(self.places == "")):
            raise ValueError(
                f"`places` must name the place of every image where there are no `positions`; {len(unnamed)} are "
                f"empty. Received: places[{unnamed[0]}]='' of {self.paths[unnamed[0]]}"
            )


def _checked_shape(positions: np.ndarray) -> np.ndarray:
    if positions.ndim != 2 or positions.shape[1] not in _COORDINATE_SYSTEMS:
        raise ValueError(
            "`positions` must be [N, 2] planar metres or [N, 3] earth-centred metres. "
            f"Received: positions.shape={positions.shape}"
        )
    return positions
