"""Finds where a photo was taken, on a device: this file, a model and an index are all that goes there.

    python localise.py balanced.tflite index.npz photo.jpg

It needs numpy, Pillow and ai-edge-litert. The other two are made where keras_sare is:

    python -m export tflite --variants=balanced --run=runs/pitts30k --output=exports
    python -m export.index --model=exports/tflite/balanced.tflite --root=pitts30k --output=exports/index.npz
"""

import hashlib
import os
import struct
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

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


def read_photo(path: str | os.PathLike[str], size: Sequence[int], orientation: str = "upright") -> np.ndarray:
    """Reads a photo, upright or with its pixels as stored: float32 [1, height, width, 3], RGB in 0..255."""
    with Image.open(path) as file:
        turn = TRANSPOSITIONS.get(noted_orientation(file)) if orientation == "upright" else None
        photo = file.convert(file.mode) if turn is None else file.transpose(turn)
    if photo.mode == "I;16":  # Grey of 16 bits, which Pillow would clip.
        photo = Image.fromarray((np.asarray(photo) >> 8).astype(np.uint8))
    # In float32, because whitened descriptors feel it where pixels are rounded between rows and columns.
    bands = [band.convert("F") for band in photo.convert("RGB").split()]
    limited = len(size) == 1  # Pixels that the longer side has at most.
    if limited:
        for band in bands:
            band.thumbnail((size[0], size[0]), Image.Resampling.LANCZOS, reducing_gap=None)
    else:
        bands = [band.resize((size[1], size[0]), Image.Resampling.BILINEAR) for band in bands]
    pixels = np.stack([np.asarray(band) for band in bands], axis=-1)[None]
    return pixels.round().clip(0, 255) if limited else pixels


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


def describe(model: Any, photo: np.ndarray) -> np.ndarray:
    """Computes the descriptor of a photo: float32 [dim], norm 1."""
    images, embedding = model.get_input_details()[0], model.get_output_details()[0]
    if images["shape"].tolist() != list(photo.shape):
        model.resize_tensor_input(images["index"], photo.shape, strict=True)
    model.allocate_tensors()
    model.set_tensor(images["index"], photo)
    model.invoke()
    return model.get_tensor(embedding["index"])[0]


def main(model: str, index: str, photo: str) -> None:
    """Prints the three most similar places, with the cosine and the position of the most similar image of each."""
    with np.load(index) as file:
        known = dict(file)
    with open(model, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != known["model"]:
            sys.exit(f"{index} was made with another model than {model}: make it anew with python -m export.index")
    try:
        pixels = read_photo(photo, known["size"].tolist(), str(known.get("orientation", "upright")))
    except OSError as error:
        sys.exit(f"Cannot read {photo}: {error}")
    cosines = known["descriptors"] @ describe(open_model(model), pixels)
    best: dict[str, int] = {}
    for i in np.argsort(-cosines):
        best.setdefault(known["names"][i], i)
        if len(best) == 3:
            break
    for place, i in best.items():
        position = ", ".join(map("{} {:.8g}".format, known["axes"], known["positions"][i]))
        sys.stdout.write(f"{cosines[i]:.3f}  {place}  {position}\n")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) == 4 else sys.exit(__doc__)
