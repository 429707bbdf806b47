"""What a format says of itself: all that the programs, the manifest and the fidelity report need to know of it."""

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from export.source import Source

Shape = tuple[int | None, ...]
ExtractFiles = Callable[[list[bytes]], np.ndarray]
Loaded = tuple[Callable[[np.ndarray], np.ndarray], Shape, ExtractFiles | None]
"""What extracts the descriptors of a batch [b, height, width, 3], the shape that it takes, None for any number, and
what extracts those of image files by their bytes, where the artefact reads files."""


@dataclass(frozen=True)
class Option:
    """A choice that a format leaves to its user: a flag of `python -m export`.

    Attributes:
        name: of the flag; no two formats may have the same.
        default: its value where it is not given.
        help: of the flag.
        kind: of its value: a text, a whole number, a switch, or a list of texts.
        choices: the texts that there are; empty where any will do.
        least: of a number.
    """

    name: str
    default: Any
    help: str
    kind: Literal["text", "number", "switch", "list"] = "text"
    choices: tuple[str, ...] = ()
    least: int | None = None


@dataclass(frozen=True)
class Artefact:
    """One file or folder to be written.

    Attributes:
        kind: name of its format.
        name: path below the output folder, for example "tflite/float16.tflite".
        write: writes it at a path, and checks it.
        extra: what only this kind's manifest has, of the artefact at a path.
    """

    kind: str
    name: str
    write: Callable[[Path], None]
    extra: Callable[[Path], Mapping[str, Any]] = lambda _: {}


@dataclass(frozen=True)
class Request:
    """What is exported and where to, as every format is told.

    Attributes:
        source: the model.
        output: folder of all artefacts.
        root: dataset of places that the user named; None for that of the source's run.
        prefix: of its .mat files.
        everything: whether all formats were asked for, rather than this one by its name.
    """

    source: "Source"
    output: Path
    root: str | None = None
    prefix: str = ""
    everything: bool = False


@dataclass(frozen=True)
class Format:
    """A kind of artefact.

    Attributes:
        name: that the user writes, and the folder below the output folder.
        description: one line for the program's help.
        plan: (request, options) to the artefacts that are to be written, with nothing written yet. `options` holds the
            value of each of the format's options by name. It raises ValueError, FileNotFoundError or FileExistsError
            where an option is unknown or does not go with the source.
        load: (path, threads) to what extracts descriptors with an artefact, in a process of its own. It imports nothing
            but what the artefact needs, by `import_package`.
        photos: how the fidelity report gives it photos. "pixels": one by one, as `export/localise.py` reads them on a
            device; "files": the bytes of files, as clients send them to a server; "batches": as training reads them.
        colour: its place in `keras_sare.evaluation.plots.pictures.COLOURS`; None for the neutral colour.
        options: flags of its own.
        extra: of setup.py, that brings the packages which it needs beyond the project's own.
        modules: of these packages, as they are imported.
        packages: of these packages, as they are installed: the manifest records their versions.
        in_all: whether "all" insists on the format; otherwise it is left out where its packages are not installed.
    """

    name: str
    description: str
    plan: Callable[[Request, Mapping[str, Any]], Iterator[Artefact]]
    load: Callable[[str, int], Loaded]
    photos: Literal["pixels", "files", "batches"] = "pixels"
    colour: int | None = None
    options: tuple[Option, ...] = ()
    extra: str | None = None
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    in_all: bool = True

    def missing(self) -> str | None:
        """Names its packages that are not installed, with the line to install them; None where all are there."""
        missing = [module for module in self.modules if importlib.util.find_spec(module) is None]
        return f'{self.name} needs {", ".join(missing)}: pip install "keras-sare[{self.extra}]"' if missing else None


def import_package(module: str, extra: str) -> Any:
    """Imports a package in the process of an artefact.

    Raises:
        ImportError: it is not installed; the message has the line to install it with.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        install = f'pip install "keras-sare[{extra}]"'
        raise ImportError(f"{module} cannot be imported ({error}). Install it: {install}") from error


def import_tensorflow(threads: int) -> Any:
    """Imports TensorFlow in the process of an artefact, and lets it compute with so many threads."""
    tensorflow = import_package("tensorflow", "cpu")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return tensorflow
