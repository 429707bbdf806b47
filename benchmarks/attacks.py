"""What strangers send, for `serving_attack.py`: requests that claim much, damaged photos, and what is no request."""

import base64
import io
import json
import runpy
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from innocent import request_of
from PIL import Image
from server_process import photo

from serving.client.messages import PredictRequest

# The files that the tests have, too.
HOSTILE = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "tests" / "data" / "hostile_images.py")))
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
STRING = 7
FLOAT = 1
DOUBLE = 2

Requests = Iterator[bytes]


def claim(shape: list[int], dtype: int, field: str, values: list[Any], signature: str = "serving_default") -> bytes:
    """A request whose shape says more than it carries, or something else."""
    request = PredictRequest()
    request.model_spec.name = "keras_sare"
    request.model_spec.signature_name = signature
    tensor = request.inputs["images" if signature == "images" else "image_bytes"]
    tensor.dtype = dtype
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    getattr(tensor, field).extend(values)
    return bytes(request.SerializeToString())


def claimed_strings() -> bytes:
    """One string that claims to be 20 000."""
    return claim([20000], STRING, "string_val", [b"x"])


def claimed_floats() -> bytes:
    """One number that claims to be a photo of 12 000 x 12 000."""
    return claim([1, 12000, 12000, 3], FLOAT, "float_val", [1.0], "images")


def repeated_values() -> bytes:
    """Half of the values, the last of which would stand for the others."""
    return claim([1, 64, 64, 3], FLOAT, "float_val", [1.0] * (64 * 64 * 3 // 2), "images")


def claimed_pixels() -> list[bytes]:
    """Small files that declare many pixels."""
    width = height = 16383
    gif = _encoded("GIF")
    # The frame says it again.
    frame = gif.index(b"," + bytes(4)) + 5
    bmp = _encoded("BMP")
    return [
        HOSTILE.webp_of_one_colour(width, height),
        HOSTILE.png_of(width, height),
        HOSTILE.jpeg_of(photo(), width, height),
        gif[:6]
        + struct.pack("<HH", width, height)
        + gif[10:frame]
        + struct.pack("<HH", width, height)
        + gif[frame + 4 :],
        bmp[:18] + struct.pack("<ii", width, height) + bmp[26:],
    ]


def malformed_images(number: int) -> Iterator[bytes]:
    """Photos of all formats that are cut, changed, too large for their header, or none."""
    rng = np.random.default_rng(0)
    whole = [_encoded(name) for name in FORMATS]
    kinds: list[Callable[[bytes], bytes]] = [
        lambda file: file[: int(rng.integers(0, 40))],
        lambda file: file[:8] + rng.bytes(500),
        lambda file: _with_noise(file, rng),
        lambda _: rng.bytes(int(rng.integers(0, 2000))),
        lambda file: file[20:],
    ]
    for i in range(number):
        yield kinds[i % len(kinds)](whole[i // len(kinds) % len(whole)])


def malformed_requests(number: int) -> Requests:
    """Bytes that are no request, or one that no model can answer."""
    rng = np.random.default_rng(1)
    good = request_of(photo(size=(160, 120))).SerializeToString()
    nan = [float("nan")] + [1.0] * 191
    kinds: list[Callable[[], bytes]] = [
        lambda: rng.bytes(int(rng.integers(1, 5000))),
        lambda: good[: int(rng.integers(0, len(good)))],
        lambda: b"\x12\x00" * 100_000,
        lambda: b"\x0a\xff\xff\xff\xff\x0f" + rng.bytes(20),
        lambda: claim([1], int(rng.integers(1, 24)), "int_val", [1]),
        lambda: claim([1, 8, 8, 3], FLOAT, "float_val", nan, "images"),
        lambda: claim([1, 8, 8, 3], DOUBLE, "double_val", [1.0] * 192, "images"),
        lambda: claim([-1], STRING, "string_val", [b"x"]),
        lambda: claim([0, 2**40], STRING, "string_val", []),
        lambda: claim([1] * 300, STRING, "string_val", [b"x"]),
        lambda: claim([17], STRING, "string_val", [photo(size=(64, 48))] * 17),
        lambda: claim([1], STRING, "string_val", [b"x"], f"none{rng.integers(9)}\n"),
    ]
    for i in range(number):
        yield kinds[i % len(kinds)]()


def large_requests(number: int) -> Requests:
    """Requests of 32 MiB that are no photos."""
    data = bytes(claim([1], STRING, "string_val", [bytes(32 * 2**20)]))
    for _ in range(number):
        yield data


def json_of(file: bytes) -> bytes:
    """A photo as a request of REST."""
    return json.dumps({"inputs": {"image_bytes": [{"b64": base64.b64encode(file).decode()}]}}).encode()


def malformed_json(number: int) -> Requests:
    """Bodies that are no request of REST."""
    rng = np.random.default_rng(2)
    good = json_of(photo(size=(64, 48)))
    kinds: list[Callable[[], bytes]] = [
        lambda: rng.bytes(int(rng.integers(1, 5000))),
        lambda: good[: int(rng.integers(0, len(good)))],
        lambda: b"[" * 100_000,
        lambda: b'{"instances":' + b'[{"b64":' * 5000,
        lambda: b'{"inputs": ' + b"9" * 10_000 + b"}",
        lambda: b'{"inputs": {"image_bytes": [{"b64": "!"}]}}',
        lambda: b'{"signature_name": "images", "inputs": {"images": [[[[NaN, 1, 1]]]]}}',
        lambda: b'{"instances": [' + b"1," * 300_000 + b"1]}",
    ]
    for i in range(number):
        yield kinds[i % len(kinds)]()


def _encoded(name: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photo(size=(160, 120)))).save(buffer, name)
    return buffer.getvalue()


def _with_noise(file: bytes, rng: np.random.Generator) -> bytes:
    """A photo with ten bytes changed, the first of them in its signature."""
    changed = bytearray(file)
    changed[0] ^= 0x55
    for position in rng.integers(1, len(file), 10):
        changed[position] = int(rng.integers(256))
    return bytes(changed)
