"""Finds where a photo was taken, on a device: this file, a model and an index are all that goes there.

    python localise.py balanced.tflite index.npz photo.jpg

It needs numpy, Pillow and ai-edge-litert. The other two are made where keras_sare is:

    python -m export tflite --variants=balanced --run=runs/pitts30k --output=exports
    python -m export.index --model=exports/tflite/balanced.tflite --root=pitts30k --output=exports/index.npz
"""

import hashlib
import io
import math
import os
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np
from PIL import Image

ARRAYS = {
    "descriptors": "f2",
    "names": "U1",
    "positions": "f2",
    "axes": "U1",
    "size": "i1",
    "orientation": "U0",
    "antialias": "b0",
    "shorter": "b0",
    "model": "U0",
}
"""Of an index: the kind of their elements, as numpy names it, and their dimensions."""

READING = ("orientation", "antialias", "shorter")
"""Of these, what an index need not hold: arguments of `read_photo`, which have defaults."""

LONGEST_SHAPE = 8
"""Times the shorter side, that the longer one gets at most where the shorter one is given."""

LONGEST_SIDE = 8192
"""Of the images that a model takes, in pixels."""

MAX_PIXELS = 128_000_000
"""Of a photo, height times width, by default, as everywhere in keras_sare."""

LONGEST_TEXT = 500
"""Of a name that is shown, or of an error."""

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_model(path: str | os.PathLike[str]) -> Any:
    """Loads a TFLite file."""
    from ai_edge_litert.interpreter import Interpreter  # Here, as it is not needed to read photos.

    return Interpreter(model_path=os.fspath(path), num_threads=os.cpu_count())


def read_photo(
    path: str | os.PathLike[str] | bytes,
    size: Sequence[int],
    orientation: str = "upright",
    antialias: bool = True,
    shorter: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Reads a photo, upright or with its pixels as stored: float32 [1, height, width, 3], RGB in 0..255.

    `path` names it, or is what its file holds. `size` is its height and width; or alone the most pixels of its longer
    side, or those of its shorter side.
    """
    with open_photo(path, max_pixels) as file:
        turn = TRANSPOSITIONS.get(noted_orientation(file)) if orientation == "upright" else None
        photo = file.convert(file.mode) if turn is None else file.transpose(turn)
    if photo.mode == "I;16":  # Grey of 16 bits, which Pillow would clip.
        photo = Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8))
    # In float32, because whitened descriptors feel it where pixels are rounded between rows and columns.
    bands = [band.convert("F") for band in photo.convert("RGB").split()]
    limited = len(size) == 1 and antialias and not shorter
    if limited:
        for band in bands:
            band.thumbnail((size[0], size[0]), Image.Resampling.LANCZOS, reducing_gap=None)
    else:
        resize = antialiased if antialias else interpolated
        bands = [resize(band, *resized(photo.height, photo.width, size, shorter)) for band in bands]
    pixels = np.stack([np.asarray(band) for band in bands], axis=-1)[None]
    return pixels.round().clip(0, 255) if limited else pixels


def resized(height: int, width: int, size: Sequence[int], shorter: bool) -> tuple[int, int]:
    """Height and width that a photo is resized to."""
    if len(size) == 2:
        return size[0], size[1]
    if shorter:
        most = LONGEST_SHAPE * size[0]
        scaled = [min(size[0] * side // min(height, width), most) for side in (height, width)]
        return scaled[0], scaled[1]
    thumbnail = Image.new("1", (width, height))
    thumbnail.thumbnail((size[0], size[0]))
    return thumbnail.height, thumbnail.width


def antialiased(band: Image.Image, height: int, width: int) -> Image.Image:
    """Resizes with a filter that widens where the photo shrinks."""
    return band.resize((width, height), Image.Resampling.BILINEAR)


def interpolated(band: Image.Image, height: int, width: int) -> Image.Image:
    """Resizes by interpolation between the four nearest pixels, as PyTorch's does without antialiasing."""
    steps = (band.width / width, 0, 0, 0, band.height / height, 0)
    return band.transform((width, height), Image.Transform.AFFINE, steps, Image.Resampling.BILINEAR)


def open_photo(path: str | os.PathLike[str] | bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Opens a photo, by its path or what its file holds; nothing is decoded yet.

    Raises:
        ValueError: it declares more than `max_pixels`, or is damaged; Pillow raises other errors too.
    """
    if not isinstance(path, bytes):
        with open(path, "rb") as file:
            path = file.read()
    contents = without_notes(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow's limit lies elsewhere.
        photo = Image.open(io.BytesIO(contents))
    if photo.width * photo.height > max_pixels:
        raise ValueError(f"too large: declares {photo.width} x {photo.height} pixels, at most {max_pixels} are read")
    return photo


def without_notes(contents: bytes) -> bytes:
    """Drops texts and colour profiles from a PNG file: where they are long Pillow refuses the pixels too."""
    if not contents.startswith(b"\x89PNG\r\n\x1a\n"):
        return contents
    position = 8
    kept = [contents[:8]]
    while position < len(contents):
        end = position + 12 + int.from_bytes(contents[position : position + 4], "big")
        if contents[position + 4 : position + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(contents[position:end])
        position = end
    return b"".join(kept)


def noted_orientation(file: Image.Image) -> int:
    """The orientation in a photo's EXIF, 1 to 8; 1 where none is noted, or the note is damaged.

    Unlike `ImageOps.exif_transpose` it looks at no other notes (XMP, text in PNG), as viewers and the server do not.
    """
    tiff = file.info.get("exif", b"").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    directory = struct.unpack_from(f"{order}I", tiff, 4)[0]
    count = struct.unpack_from(f"{order}H", tiff[directory : directory + 2].ljust(2, b"\0"))[0]
    entries = tiff[directory + 2 :][: 12 * count]
    entries = entries[: len(entries) // 12 * 12]
    found = [value for tag, kind, _, value in struct.iter_unpack(f"{order}HHIHxx", entries) if (tag, kind) == (274, 3)]
    return max((value for value in found if 1 <= value <= 8), default=1)


def extract(model: Any, photo: np.ndarray) -> np.ndarray:
    """Extracts the descriptor of a photo: float32 [dim], norm 1."""
    images = model.get_input_details()[0]
    embedding = model.get_output_details()[0]
    if images["shape"].tolist() != list(photo.shape):
        model.resize_tensor_input(images["index"], photo.shape, strict=True)
    model.allocate_tensors()
    model.set_tensor(images["index"], photo)
    model.invoke()
    return model.get_tensor(embedding["index"])[0]


def read_index(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads an index, which may come from anybody: nothing in it is run, and it takes no more memory than its file.

    Returns:
        descriptors [n, dim], names [n], positions [n, axes], axes, size, model, and of READING what is told.

    Raises:
        ValueError: the file is no index.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = {name: file.getinfo(f"{name}.npy") for name in ARRAYS if f"{name}.npy" in file.namelist()}
            if sum(member.file_size for member in members.values()) > os.path.getsize(path):
                raise ValueError("it unpacks to more bytes than it has, and an index is not compressed")
            known = {name: _read_array(file, member) for name, member in members.items()}
        _check_index(known)
    except Exception as error:  # Of zipfile and of numpy, which raise what they like on such files.
        raise ValueError(f"it is no index that python -m export.index wrote: {_reason(error)}") from error
    return known


def _read_array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with file.open(member) as data:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = readers[np.lib.format.read_magic(data)](data)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != member.file_size - data.tell():
            raise ValueError(f"{member.filename} does not hold what it says: {dtype}, {shape}")
    with file.open(member) as data:
        return np.lib.format.read_array(data, allow_pickle=False)


def _check_index(known: dict[str, np.ndarray]) -> None:
    kinds = {name: f"{array.dtype.kind}{array.ndim}" for name, array in known.items()}
    if missing := [name for name in ARRAYS if name not in {*known, *READING}]:
        raise ValueError(f"{', '.join(missing)} missing")
    if wrong := [name for name, kind in kinds.items() if kind != ARRAYS[name]]:
        raise ValueError(f"{wrong[0]} must not be of the type {known[wrong[0]].dtype}, shape {known[wrong[0]].shape}")
    shapes = {name: known[name].shape for name in ("descriptors", "names", "positions", "axes")}
    count, dim = shapes["descriptors"]
    expected = {"names": (count,), "positions": (count, len(known["axes"]))}
    if not count or not dim or any(shapes[name] != shape for name, shape in expected.items()):
        raise ValueError(f"shapes that do not go together: {shapes}")
    size = known["size"].tolist()
    if len(size) not in (1, 2) or not all(1 <= side <= LONGEST_SIDE for side in size):
        raise ValueError(f"size must be one or two numbers from 1 to {LONGEST_SIDE}, not {size[:9]}")
    if not np.isfinite(known["descriptors"]).all():
        raise ValueError("descriptors that are not finite")


def printable(text: object) -> str:
    """Escapes what a terminal would obey, such as control characters, and what it cannot write; cuts long text."""
    shown = str(text)[:LONGEST_TEXT]
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    encoding = sys.stdout.encoding or "utf-8"
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def find(model: str, index: str, photo: str) -> list[str]:
    """Finds the three most similar places: a line for each, with the cosine and the position of its best image.

    Raises:
        SystemExit: a file is not what it must be; the text of one line says which and why.
    """
    known = _or_exit(f"Cannot read {index}", read_index, index)
    if _or_exit(f"Cannot read {model}", _digest, model) != known["model"]:
        _exit(f"{index} was made with another model than {model}: make it anew with python -m export.index")
    read = partial(read_photo, **{name: known[name].tolist() for name in READING if name in known})
    pixels = _or_exit(f"Cannot read {photo}", read, photo, known["size"].tolist())
    interpreter = _or_exit(f"Cannot use {model}", open_model, model)
    descriptor = _or_exit(f"Cannot use {model}", extract, interpreter, pixels)
    if descriptor.shape != known["descriptors"].shape[1:]:
        _exit(f"{model} gives descriptors {descriptor.shape}, not those of {index}")
    if not abs(np.linalg.norm(descriptor) - 1) < 0.1:
        height, width = pixels.shape[1:3]
        _exit(f"{model} gives no descriptor of {photo}: {width} x {height} pixels may be too few for it")
    cosines = known["descriptors"] @ descriptor
    best: dict[str, int] = {}
    for i in np.argsort(-cosines):
        best.setdefault(known["names"][i], i)
        if len(best) == 3:
            break
    positions = [zip(known["axes"], known["positions"][i], strict=True) for i in best.values()]
    told = [", ".join(f"{axis} {value:.8g}" for axis, value in position) for position in positions]
    rows = zip(best.items(), told, strict=True)
    return [f"{cosines[i]:.3f}  {printable(place)}  {printable(position)}" for (place, i), position in rows]


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _or_exit(what: str, call: Callable[..., Any], *arguments: object) -> Any:
    try:
        return call(*arguments)
    except Exception as error:  # Whatever the file made it raise: one line is more use than a traceback.
        _exit(f"{what}: {_reason(error)}")


def _exit(text: str) -> NoReturn:
    sys.exit(printable(text))


def _reason(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed: pip install numpy Pillow ai-edge-litert"
    return " ".join(str(error).split()) or type(error).__name__


def main(model: str, index: str, photo: str) -> None:
    """Prints the three most similar places."""
    for line in find(model, index, photo):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 4 else sys.exit(__doc__)
