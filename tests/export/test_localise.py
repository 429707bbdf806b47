import ast
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import localise
from export.converters.tflite import write_tflite
from export.index_file import write_index
from export.reading import Reading
from export.source import Source
from keras_sare.datasets import ImageSet, load_image

HOSTILE = runpy.run_path(str(Path(__file__).parents[1] / "data" / "hostile_images.py"))
SIZE = (24, 32)
PLACES = ["hall", "hall", "stairs", "lift", "door", "door"]
ON_A_DEVICE = """
import runpy, sys
for absent in ("tensorflow", "keras", "keras_sare", "export"):
    sys.modules[absent] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def draw(path, seed, size=(64, 48)):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size).save(path)
    return path


@pytest.fixture(scope="module")
def device(whitened_model, tmp_path_factory):
    """A folder with nothing but the program, a model, an index and photos."""
    folder = tmp_path_factory.mktemp("device")
    shutil.copy(localise.__file__, folder)
    write_tflite(Source(whitened_model, SIZE, "small_mac", "a test"), folder / "model.tflite")
    photos = [draw(folder / f"{number}.png", number) for number in range(6)]
    places = np.array(PLACES)
    images = ImageSet(list(map(str, photos)), [[500.0 + i, 0.25 * i] for i in range(6)], places=places)
    write_index(folder / "model.tflite", Reading(SIZE), images, folder, folder / "index.npz")
    return folder


def run(folder, *arguments):
    command = [sys.executable, "-I", "-c", ON_A_DEVICE, "localise.py", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_photo_is_found_on_a_machine_without_tensorflow_and_keras_sare(device):
    result = run(device, "model.tflite", "index.npz", "3.png")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0] == "1.000  lift  easting (m) 503, northing (m) 0.75"


def test_program_imports_numpy_pillow_and_litert_and_the_standard_library_only(device):
    nodes = ast.walk(ast.parse((device / "localise.py").read_text()))
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    packages = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert packages == {"numpy", "PIL", "ai_edge_litert"}


def test_without_its_arguments_it_says_how_it_is_called(device):
    result = run(device, "model.tflite")
    assert result.returncode == 1
    assert "python localise.py balanced.tflite index.npz photo.jpg" in result.stderr


def test_places_are_three_different_ones_by_falling_cosine(device, whitened_model, capsys):
    localise.main(str(device / "model.tflite"), str(device / "index.npz"), str(device / "0.png"))
    words = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    photos = np.stack([load_image(device / f"{number}.png", SIZE) for number in range(6)])
    descriptors = whitened_model(photos).numpy()
    cosines = descriptors @ descriptors[0]
    best = {}
    for place, cosine in zip(PLACES, cosines, strict=True):
        best[place] = max(cosine, best.get(place, -1))
    expected = sorted(best, key=best.get, reverse=True)[:3]
    assert [name for _, name, _ in words] == expected
    np.testing.assert_allclose([float(cosine) for cosine, _, _ in words], [best[name] for name in expected], atol=2e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_with_an_orientation_is_turned_upright(tmp_path, orientation):
    upright = Image.open(draw(tmp_path / "upright.png", 1))
    # How the camera stored it: the inverse of what the orientation asks for.
    Turn = Image.Transpose
    inverse = {2: Turn.FLIP_LEFT_RIGHT, 3: Turn.ROTATE_180, 4: Turn.FLIP_TOP_BOTTOM, 5: Turn.TRANSPOSE}
    inverse |= {6: Turn.ROTATE_90, 7: Turn.TRANSVERSE, 8: Turn.ROTATE_270}
    stored = upright.transpose(inverse[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "stored.png", exif=exif)
    for size in (SIZE, [40]):
        expected = localise.read_photo(tmp_path / "upright.png", size)
        np.testing.assert_array_equal(localise.read_photo(tmp_path / "stored.png", size), expected)


@pytest.mark.parametrize(
    ("size", "shape"), [((24, 32), (24, 32)), (40, (30, 40)), (100, (48, 64)), ((96, 80), (96, 80))]
)
def test_photo_is_resized_as_keras_sare_does(tmp_path, size, shape):
    draw(tmp_path / "photo.png", 2)
    photo = localise.read_photo(tmp_path / "photo.png", np.atleast_1d(size).tolist())
    assert (photo.shape, photo.dtype) == ((1, *shape, 3), np.float32)
    np.testing.assert_allclose(photo[0], load_image(tmp_path / "photo.png", size), atol=1e-3)


def test_grey_transparent_and_16_bit_photos_become_rgb(tmp_path):
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
    images = {
        "grey": Image.fromarray((ramp / 257).astype(np.uint8)),
        "deep": Image.fromarray(ramp.astype(np.uint16)),
        "transparent": Image.open(draw(tmp_path / "photo.png", 3)).convert("RGBA"),
    }
    for name, image in images.items():
        image.save(tmp_path / f"{name}.png")
        photo = localise.read_photo(tmp_path / f"{name}.png", (48, 64))
        np.testing.assert_array_equal(photo[0], load_image(tmp_path / f"{name}.png"), name)


def test_index_of_another_model_is_refused(device, tmp_path):
    with open(device / "model.tflite", "rb") as file:
        (tmp_path / "other.tflite").write_bytes(file.read() + b"\0")
    with pytest.raises(SystemExit, match=r"index.npz was made with another model than .*other.tflite: make it anew"):
        localise.main(str(tmp_path / "other.tflite"), str(device / "index.npz"), str(device / "0.png"))


@pytest.mark.parametrize("contents", [None, b"", b"no image"])
def test_photo_that_cannot_be_read_is_named(device, tmp_path, contents):
    photo = tmp_path / "photo.jpg"
    if contents is not None:
        photo.write_bytes(contents)
    with pytest.raises(SystemExit, match=r"Cannot read .*photo.jpg: "):
        localise.main(str(device / "model.tflite"), str(device / "index.npz"), str(photo))


def test_real_photos_are_described_as_keras_sare_does(device, whitened_model, real_data):
    paths = sorted((real_data / "ie_tower" / "queries").rglob("*.jpg"))[::40]
    model = localise.open_model(device / "model.tflite")
    described = np.stack([localise.extract(model, localise.read_photo(path, (54, 96))) for path in paths])
    expected = whitened_model(np.stack([load_image(path, (54, 96)) for path in paths])).numpy()
    assert np.sum(described * expected, axis=1).min() > 0.999


def test_a_photo_that_declares_too_much_is_named(device, tmp_path):
    for name, contents in (
        ("bomb.webp", HOSTILE["webp_of_one_colour"](16383, 16383)),
        ("bomb.png", HOSTILE["png_of"](12000, 11000)),
    ):
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(SystemExit, match=rf"Cannot read .*{name}: .*([Ll]arge|exceeds limit)"):
            localise.main(str(device / "model.tflite"), str(device / "index.npz"), str(tmp_path / name))


def test_long_texts_and_profiles_in_a_png_do_not_matter(tmp_path):
    picture = HOSTILE["noise"](30, 44)
    (tmp_path / "text.png").write_bytes(HOSTILE["png_with_text"](picture))
    picture.save(tmp_path / "profile.png", icc_profile=bytes(3 << 20))
    for name in ("text.png", "profile.png"):
        np.testing.assert_array_equal(localise.read_photo(tmp_path / name, (30, 44))[0], np.asarray(picture))
