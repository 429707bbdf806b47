"""Stages of `trainers.demo`: a town, commands, a server, and photos that look for their place."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from keras_sare.datasets import PlaceDataset, load_image
from keras_sare.datasets.town.town import render_town
from keras_sare.models import antialiases
from keras_sare.retrieval import nearest
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of
from keras_sare.utils.text import printable
from keras_sare.utils.version_folders import version_folders
from serving.client import EmbeddingClient

PHOTOS_FOUND = 5


def town(folder: Path, seed: int) -> Path:
    """Renders a town where there is none yet, and returns its folder."""
    town = folder / "town"
    if not town.exists():
        print(f"Rendering a town in {town}")
        render_town(town, seed=seed)
    return town


def export_due(folder: Path, model: Path) -> bool:
    """Whether the last version in a folder is older than the model. The next one is served from then on."""
    saved = [path / "saved_model.pb" for path in version_folders(folder).values()]
    written = [path.stat().st_mtime for path in saved if path.is_file()]
    return not written or written[-1] < model.stat().st_mtime


def command(module: str, *arguments: str) -> None:
    """Prints a command and runs it."""
    print(f"\n$ python -m {module} {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode:
        raise SystemExit(f"The stage {module} failed; its message stands above. Started again, the demo goes on here.")


@contextmanager
def served(versions: Path, log: Path, *more: str) -> Iterator[tuple[str, str]]:
    """Starts the server on free ports, yields the addresses of gRPC and of REST, and stops it.

    Args:
        versions: folder of the model's versions.
        log: file for what the server says.
        *more: of its flags.
    """
    command = ["-m", "serving", f"--model={versions}", "--port=0", "--rest_port=0", *more]
    print(f"\n$ python {' '.join(command)} &", flush=True)
    with open(log, "w") as file:
        server = subprocess.Popen([sys.executable, *command], stderr=file)
    try:
        while not (ready := re.search(r"serving \S+ version \d+ at (\S+)$", log.read_text(), re.MULTILINE)):
            if server.poll() is not None:
                raise SystemExit(f"The server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        rest = re.findall(r"serving REST at (\S+)$", log.read_text(), re.MULTILINE)
        yield ready[1], rest[0]
    finally:
        stop(server)


def stop(server: "subprocess.Popen[bytes]", seconds: float = 30) -> None:
    """Lets the server finish its requests, but not for ever."""
    server.terminate()
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def find_places(test: PlaceDataset, run: RunFolder, address: str) -> None:
    """Embeds the database and a few queries over gRPC, and prints where each query was taken."""
    chosen = np.unique(np.linspace(0, len(test.queries) - 1, PHOTOS_FOUND).astype(int))
    photos = [str(path) for path in test.queries.paths[chosen]]
    with EmbeddingClient(address) as client:
        print(
            f"\nEmbedding {len(test.database)} database photos and {len(photos)} queries over gRPC at {address}",
            flush=True,
        )
        database = client.embed_files([str(path) for path in test.database.paths], batch_size=16)
        descriptors = client.embed_files(photos)
    positives = test.positives(run.settings["negative_radius"])
    names = test.database.paths if test.database.places is None else test.database.places
    for query, photo, [best] in zip(chosen, photos, nearest(descriptors, database, 1)[1], strict=True):
        sign = "\N{CHECK MARK}" if best in positives[query] else "\N{BALLOT X}"
        distance = test.distance(query, best)
        far = "" if distance is None else f", {distance:.1f} m from where the photo was taken"
        print(f"{sign} {printable(photo)}\n  place found: {printable(names[best])}{far}")
    height, width = map(int, run.settings["image_size"])
    model = run.load_model()
    orientation = orientation_of(run.settings)
    images = [load_image(photo, (height, width), None, orientation, antialiases(model)) for photo in photos]
    expected = model(np.stack(images)).numpy()
    print(f"Cosine of the served descriptors to the Keras model's: {np.sum(descriptors * expected, 1).min():.6f}")
