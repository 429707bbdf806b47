"""What the words of `--models` mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.manifest import manifest_path
from export.reading import Reading, reading_beside
from export.source import open_source, read_size, size_of
from keras_sare.extraction import Extractor
from keras_sare.models.model_file import identity_of
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of
from keras_sare.utils.digests import path_digest
from keras_sare.utils.version_folders import version_folders
from serving.descriptors.artefacts import Artefact
from serving.descriptors.descriptor_model import DescriptorModel
from serving.descriptors.endpoints import SCHEME, Endpoint
from serving.descriptors.keras_models import KerasModel
from serving.descriptors.stored import SUFFIXES, StoredDescriptors

_ARTEFACTS = {".tflite": "tflite", ".onnx": "onnx"}
KINDS = (
    "a .keras file, the folder of a run, a SavedModel or the folder of its versions, a .tflite or .onnx file, a file "
    "of another project, grpc://HOST:PORT[/MODEL], or stored descriptors (.npy with names in .txt, .h5)"
)


def open_model(model: str, image_size: Sequence[str] | None = None, orientation: str | None = None) -> DescriptorModel:
    """Opens one model; see `open_models`."""
    return open_models([model], image_size, orientation)[0]


def open_models(
    models: Sequence[str],
    image_size: Sequence[str] | None = None,
    orientation: str | None = None,
    preset: str | None = None,
) -> list[DescriptorModel]:
    """Opens models.

    Images are read for all of them as the arguments say, or else as the first that has a record of it: a run, or an
    artefact with its manifest. Servers and SavedModels read files themselves.

    Args:
        models: words of `KINDS`.
        image_size: height and width, the longer side, or shorter:PIXELS; None or empty: as the record says.
        orientation: "upright" or "stored"; None: as the record says, or upright.
        preset: network and pooling of files of other projects that do not name it.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: one is damaged, two have one name, or nothing says how images are read.
        RuntimeError: a server does not answer.
    """
    reading = _reading(models, image_size, orientation)
    opened = [_open(text, reading, preset) for text in models]
    names = [model.name for model in opened]
    if len({*names}) < len(names):
        raise ValueError(f"`models` must differ in their names. Received: {', '.join(names)}")
    return opened


def _open(text: str, reading: Reading | None, preset: str | None) -> DescriptorModel:
    path = Path(text)
    if text.startswith(SCHEME):
        return Endpoint.open(text)
    if path.suffix in SUFFIXES:
        return StoredDescriptors.open(path)
    if saved := _saved_model(path):
        return Artefact(_name_of(saved), path_digest(saved), None, kind="saved_model", path=saved)
    if path.is_dir() and not RunFolder(path).is_run:
        raise ValueError(f"`models` must name {KINDS}. Received: {text!r}, a folder of something else")
    if not RunFolder(path).is_run and not path.is_file() and not path.with_name(f"{path.name}.index").is_file():
        raise FileNotFoundError(f"`models` must name {KINDS}. Received: {text!r}, which does not exist")
    if reading is None:
        raise ValueError(
            "`image_size` must be given, as height,width in pixels, the most pixels of the longer side, or "
            f"shorter:PIXELS, where no model is a run or has a manifest beside it. Received: models={text}"
        )
    if path.suffix in _ARTEFACTS:
        return Artefact(path.stem, path_digest(path), reading, kind=_ARTEFACTS[path.suffix], path=path)
    return _keras_model(path, reading, preset)


def _keras_model(path: Path, reading: Reading, preset: str | None) -> KerasModel:
    how: dict[str, Any] = {"size": reading.size, "orientation": reading.orientation}
    if path.is_dir():
        source = open_source(run=str(path), **how)
    elif path.suffix == ".keras":
        source = open_source(model=str(path), **how)
    else:
        source = open_source(weights=str(path), preset=preset, **how)
    reading = reading._replace(antialias=source.antialias)
    return KerasModel(path.stem, identity_of(source.model), reading, source=source, extractor=Extractor(source.model))


def _saved_model(path: Path) -> Path | None:
    """The folder of a SavedModel, of several versions the newest; None where it is none."""
    newest = list(version_folders(path).values())[-1:]
    return next((one for one in (path, *newest) if (one / "saved_model.pb").is_file()), None)


def _name_of(saved: Path) -> str:
    path = saved.absolute()
    return f"{path.parent.name}/{path.name}" if path.name.isdecimal() else path.name


def _reading(models: Sequence[str], image_size: Sequence[str] | None, orientation: str | None) -> Reading | None:
    """How images are read: as the arguments say, or else as a model has been trained or exported for."""
    recorded = _recorded(models)
    if image_size:
        size = read_size(image_size)
    elif recorded:
        size = recorded.size
    else:
        return None
    orientation = orientation or (recorded.orientation if recorded else "upright")
    return Reading(size, orientation, recorded.antialias if recorded else True)


def _recorded(models: Sequence[str]) -> Reading | None:
    for text in models:
        path = Path(text)
        if RunFolder(path).is_run:
            settings = RunFolder(path).settings
            return Reading(size_of(settings), orientation_of(settings))
        if path.suffix in _ARTEFACTS and manifest_path(path).is_file():
            return reading_beside(path)
    return None
