"""Settings of `trainers.evaluate`, `trainers.doctor` and `trainers.import_photos`, which train nothing."""

import dataclasses
import re

from keras_sare.utils.settings import ORIENTATIONS, setting
from trainers.config.config import Config
from trainers.config.reading import ReadingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(ReadingConfig):
    """An evaluation of finished models on the places of a split."""

    models: tuple[str, ...] = setting(
        (),
        "Models to compare: .keras files, folders of runs, SavedModels, .tflite and .onnx files, files of other "
        "projects, grpc://HOST:PORT/MODEL, or stored descriptors (.npy, .h5).",
        required=True,
    )
    root: str = setting("", "Dataset: datasets/*.mat or places.csv, images/, queries/.", required=True)
    output: str = setting("", "Folder of the tables and pictures.", required=True)
    prefix: str = setting("", "Start of the .mat files' names, where --root holds several datasets.")
    split: str = setting("test", "Split whose queries are looked up in its database.")
    preset: str | None = setting(
        None, "Network and pooling of files of other projects that do not name it, for example vgg16_mac."
    )
    image_size: tuple[str, ...] | None = setting(
        None,
        "height,width, the longer side, or shorter:PIXELS; by default as the first model with a record of it says. "
        "Servers and SavedModels read files themselves.",
    )
    orientation: str | None = setting(
        None, "Photos upright or as stored; by default as that model's record says, or upright.", choices=ORIENTATIONS
    )
    protocol: str = setting(
        "own", "Published rules, such as pitts30k, tokyo247 or msls; an unknown name lists all. Rules of own follow."
    )
    radius: float = setting(25.0, "Metres within which a database image is right.", least=0)
    heading: float | None = setting(None, "Degrees by which its heading may differ from the query's.", least=0)
    frames: int | None = setting(None, "Frames of a video within which it is right, instead of metres.", least=0)
    same_place: bool = setting(False, "Right is an image of the query's place, instead of metres.")
    exclude: tuple[str, ...] = setting(
        (), "Images that are neither found nor right: of the query's own timestamp, photo or traversal."
    )
    dims: tuple[str, ...] = setting((), "Measure recall of the first components too, so many: 128,512,2048.")
    database_sizes: tuple[str, ...] = setting(
        (), "Measure recall among so many database images too: all positives, and others at random."
    )
    image_sizes: tuple[str, ...] = setting(
        (), "Measure recall at these sizes of all images too: the longer side, shorter:PIXELS or HEIGHTxWIDTH."
    )
    batch: int = setting(8, "Images whose descriptors are extracted at a time.", least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DoctorConfig(Config):
    """An examination of a data set."""

    root: str = setting("", "Dataset, as the other programs take it.", required=True)
    prefix: str = setting("", "Start of the .mat files' names, where --root holds several datasets.")
    radius: float = setting(25.0, "Metres within which a database image is right.", least=0)
    positive_radius: float = setting(10.0, "Metres within which it may be a positive in training.", least=0)
    decode: bool = setting(True, "Decode every photo; --nodecode looks at lists and names of files alone.")
    output: str = setting("", "Folder of doctor.json; none is written without it.")
    cache: str = setting("", "Folder that remembers what was decoded; by default the user's cache.")
    max_pixels: int | None = setting(
        None, "Most pixels, height times width, of an image file that is decoded; by default 128 million.", least=1
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportConfig(Config):
    """A list of places that is made of a folder of photos."""

    root: str = setting("", "Folder of the photos, with folders below.", required=True)
    output: str = setting("", "Folder of places.csv, left_out.csv and places.png; by default --root.")
    source: str | None = setting(
        None,
        "What says where photos were taken; by default a track that is given, Mapillary's description, names that "
        "begin with @, else EXIF. folders: each folder is a place.",
        choices=("exif", "gpx", "mapillary", "names", "folders"),
    )
    gpx: tuple[str, ...] = setting((), "GPX files of a receiver that was carried along.")
    clock_offset: str | None = setting(
        None, "What the camera's clock is ahead of UTC, +HH:MM or seconds; by default as EXIF says, or 0."
    )
    hold_out: tuple[str, ...] = setting(
        ("0.2",), "Photos of the test: a share, south,west,north,east in degrees, or names of folders or walks."
    )
    val_share: float = setting(0.15, "Share of the validation split; 0: none.", least=0)
    distance: float = setting(50.0, "Metres between splits; photos in between are left out.", least=0)
    roles: str = setting(
        "auto",
        "traversal: queries are of other walks than the database; share: some of each walk; auto: as can be.",
        choices=("auto", "traversal", "share"),
    )
    query_share: float = setting(0.35, "Share of the queries in a split, about.", least=0)
    radius: float = setting(25.0, "Metres within which a database image is right.", least=0)
    max_speed: float = setting(150.0, "Kilometres an hour, above which a position is a jump.", least=1)
    overwrite: bool = setting(False, "Replace a places.csv that is there.")

    def check(self) -> None:
        """Checks every setting by itself.

        Raises:
            ValueError: one is missing or out of range.
        """
        super().check()
        self.clock_seconds()
        for name in ("val_share", "query_share"):
            if getattr(self, name) >= 1:
                raise ValueError(f"`{name}` must be a share below 1. Received: {name}={getattr(self, name):g}")
        if self.source == "gpx" and not self.gpx:
            raise ValueError("`gpx` must name the files of the track. Received: --source=gpx without --gpx")
        if self.clock_offset is not None and not self.gpx:
            raise ValueError(f"`clock_offset` must come with --gpx=FILE. Received: clock_offset={self.clock_offset}")

    def clock_seconds(self) -> float | None:
        """Seconds that the camera's clock is ahead of UTC; None where that is not given."""
        if self.clock_offset is None:
            return None
        clock = re.fullmatch(r"([+-]?)(\d{1,2}):([0-5]\d)(?::([0-5]\d))?", self.clock_offset, re.ASCII)
        if clock:
            hours, minutes, seconds = (float(part or 0) for part in clock.groups()[1:])
            return (-1 if clock[1] == "-" else 1) * (3600 * hours + 60 * minutes + seconds)
        if re.fullmatch(r"[+-]?\d{1,9}(\.\d*)?", self.clock_offset, re.ASCII):
            return float(self.clock_offset)
        raise ValueError(f"`clock_offset` must be +HH:MM or seconds. Received: clock_offset={self.clock_offset!r}")
