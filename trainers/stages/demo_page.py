"""The last stages of `trainers.demo`: an index of places, and a picture of the page on which a photo finds its own."""

import importlib.util
import shutil
from pathlib import Path

from keras_sare.datasets import open_splits
from keras_sare.models.crop_activations import split_at_pooling
from keras_sare.training import RunFolder
from keras_sare.utils.digests import path_digest
from keras_sare.utils.error_text import one_line
from keras_sare.utils.version_folders import version_folders
from trainers.stages.chromium import chromium, find_chromium
from trainers.stages.whole_line import command

_SIZE = (1440, 900)
_SPLITS = ("val", "test")


def place_index(folder: Path, root: Path, versions: Path) -> Path | None:
    """Builds an index of the places of validation and test, where there is none of the last exported version.

    Args:
        folder: of the index.
        root: of the data set.
        versions: folder of the exported model's versions.

    Returns:
        `folder`; None where no index can be built, which is said.
    """
    if importlib.util.find_spec("lancedb") is None:
        print('\nNo index of places: lancedb must be installed, pip install "keras-sare[index]"')
        return None
    splits = open_splits(root)
    if any(splits[name].database.positions is None for name in _SPLITS):
        print("\nNo index of places: the data set says which photos show one place, not where that is")
        return None
    if not _is_of(folder, list(version_folders(versions).values())[-1]):
        shutil.rmtree(folder, ignore_errors=True)
        chosen = [f"--split={','.join(_SPLITS)}", f"--calibrate={_SPLITS[0]}"]
        command("serving.index", "build", str(folder), f"--root={root}", f"--model={versions}", *chosen)
    return folder


def page_flags(index: Path, run: RunFolder) -> list[str]:
    """What the server needs for its page: the index, and for pooled feature maps the model that shows what agreed."""
    try:
        split_at_pooling(run.load_model())
    except ValueError:
        return [f"--index={index}"]
    return [f"--index={index}", f"--heatmaps={run.model}"]


def picture_of_page(address: str, photo: Path, output: Path) -> None:
    """Shows a photo to the page in Chromium and keeps a picture of the answer; without one that works it says so.

    Args:
        address: of the page.
        photo: whose place is looked for.
        output: PNG file to write.
    """
    browser = find_chromium()
    if browser is None:
        print("No picture of the page: there is no chromium")
        return
    try:
        output.write_bytes(_picture(browser, address, photo))
    except (OSError, RuntimeError) as error:  # All else that the demo has made is there.
        print(f"No picture of the page: {one_line(error)}")


def _picture(browser: str, address: str, photo: Path) -> bytes:
    with chromium(browser) as page:
        page.resize(*_SIZE)
        page.open(address)
        page.wait("document.querySelector('#map canvas')")
        page.evaluate("document.getElementById('agreed').click()")
        page.choose_file("#choose", photo)
        page.wait("document.querySelector('.verdict') && document.getElementById('progress').hidden")
        page.wait(
            "document.querySelector('.match .heat, .verdict.error') || document.getElementById('agreed-label').hidden"
        )
        page.wait("[...document.querySelectorAll('.match img')].slice(0, 5).every((one) => one.complete)")
        return page.screenshot()


def _is_of(folder: Path, version: Path) -> bool:
    from keras_sare.localization import PlaceIndex

    try:
        return PlaceIndex(folder).record.model == path_digest(version)
    except (FileNotFoundError, ValueError):
        return False
