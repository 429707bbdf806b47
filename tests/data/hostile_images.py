"""Small files whose headers declare much, or something else than what follows."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, PngImagePlugin


def encode(picture, file_format, **options):
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(height, width, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def chunk(kind, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height):
    """A PNG file that declares a size, and holds some pixels of it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def png_with_text(picture, kilobytes=2000):
    """More text than Pillow takes, before the pixels, which are whole."""
    text = PngImagePlugin.PngInfo()
    text.add_text("notes", "a" * (kilobytes << 10), zip=True)
    return encode(picture, "PNG", pnginfo=text)


def webp_of_one_colour(width, height):
    """34 bytes, a whole image."""
    bits = (width - 1) | (height - 1) << 14
    # No transform, no cache of colours, one group of codes, and five codes of a single symbol each.
    codes = bytes([0x2F]) + struct.pack("<I", bits) + bytes([0x88, 0x88, 0x08])
    codes += bytes(-len(codes) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(codes)) + b"WEBPVP8L" + struct.pack("<I", len(codes)) + codes


def frame_at(jpeg):
    """Where the header of the frame begins in a JPEG file, and where it ends."""
    start = next(i for i in range(len(jpeg)) if jpeg[i] == 0xFF and jpeg[i + 1] in (0xC0, 0xC2))
    return start, start + 2 + struct.unpack(">H", jpeg[start + 2 : start + 4])[0]


def jpeg_of(jpeg, width, height):
    """A JPEG file whose header declares another size."""
    start, _ = frame_at(jpeg)
    return jpeg[: start + 5] + struct.pack(">HH", height, width) + jpeg[start + 9 :]


def segment(code, data):
    """A segment of a JPEG file."""
    return bytes([0xFF, code]) + struct.pack(">H", 2 + len(data)) + data
