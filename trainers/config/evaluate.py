"""Settings of `trainers.evaluate` and `trainers.doctor`, which look at data and train nothing."""

import dataclasses

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
