"""The whole line on one command: train with SARE, whiten, evaluate, export, serve, and find the place of a photo.

    python -m trainers.demo --output=demo

Without --data it renders a small town; with --data=FOLDER it takes your own photographs (places.csv or dbStruct files
as the README describes). Each stage is a command that you can run yourself; it is printed before it runs. Started
again, the demo goes on where it was stopped.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from absl import app, flags

from keras_sare.datasets import PlaceDataset, load_image, open_splits
from keras_sare.datasets.town.town import render_town
from keras_sare.models import antialiases
from keras_sare.retrieval import nearest
from keras_sare.training import RunFolder
from keras_sare.training.checkpoints.run_folder import orientation_of
from keras_sare.utils.error_text import expected_errors
from keras_sare.utils.progress import show_information
from keras_sare.utils.text import printable
from keras_sare.utils.version_folders import version_folders
from serving.client import EmbeddingClient
from trainers.starting_model import is_model_file

TOWN = {"recipe": "demo", "image_size": "120,160", "epochs": 5}
PHOTOS = {"recipe": "demo", "image_size": "216,384", "epochs": 5}

RADII = ("min_positive", "positive_radius", "negative_radius")
PASSED_ON = ("preprocessing", "image_size", "epochs", *RADII)
"""Flags of `trainers.pitts` that are given to it where they are given here."""

PHOTOS_FOUND = 5
PHOTOS_MEASURED = 100  # Of the exported model; all of them can take as long as the training.

FLAGS = flags.FLAGS


def main(_: list[str]) -> None:
    """Runs every stage."""
    show_information()
    folder = Path(FLAGS.output)
    root = Path(FLAGS.data) if FLAGS.data else _town(folder)
    splits = open_splits(root)
    settings = {**(PHOTOS if FLAGS.data else TOWN), "weights": FLAGS.weights, "seed": FLAGS.seed}
    if is_model_file(FLAGS.weights):
        del settings["clusters"]  # It has its own.
    # Whitening to more dimensions than a third of the images fits their noise.
    settings["dim"] = max(1, min(256, len(splits["train"].database) // 3))
    settings |= {name: FLAGS[name].value for name in PASSED_ON if FLAGS[name].present}

    run, export = folder / "run", folder / "export"
    chosen = [f"--{name}={value}" for name, value in settings.items()]
    _command("trainers.pitts", f"--root={root}", f"--output={run}", *chosen, "--resume")
    versions = export / "saved_model"
    if _export_due(versions, RunFolder(run).model):
        _command("export", "saved_model", f"--run={run}", f"--output={export}", f"--max_images={PHOTOS_MEASURED}")
    with _served(versions, folder / "server.log") as address:
        _find_places(splits["test"].check_images(), RunFolder(run), address)
    print(f"\nLook at: {run / 'recall.png'}  {run / 'recall.md'}  {run / 'matches.png'}  {export / 'fidelity.png'}")


def _town(folder: Path) -> Path:
    town = folder / "town"
    if not town.exists():
        print(f"Rendering a town in {town}")
        render_town(town, seed=FLAGS.seed)
    return town


def _export_due(folder: Path, model: Path) -> bool:
    """Whether the last version in a folder is older than the model. The next one is served from then on."""
    saved = [path / "saved_model.pb" for path in version_folders(folder).values()]
    written = [path.stat().st_mtime for path in saved if path.is_file()]
    return not written or written[-1] < model.stat().st_mtime


def _command(module: str, *arguments: str) -> None:
    print(f"\n$ python -m {module} {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode:
        raise SystemExit(f"The stage {module} failed; its message stands above. Started again, the demo goes on here.")


@contextmanager
def _served(versions: Path, log: Path) -> Iterator[str]:
    """Starts the server on a free port, yields its address, and stops it."""
    command = ["-m", "serving", f"--model={versions}", "--port=0"]
    print(f"\n$ python {' '.join(command)} &", flush=True)
    with open(log, "w") as file:
        server = subprocess.Popen([sys.executable, *command], stderr=file)
    try:
        while not (ready := [line for line in log.read_text().splitlines() if " at " in line and "serving" in line]):
            if server.poll() is not None:
                raise SystemExit(f"The server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield ready[0].rsplit(" at ", 1)[1]
    finally:
        _stop(server)


def _stop(server: "subprocess.Popen[bytes]", seconds: float = 30) -> None:
    """Lets the server finish its requests, but not for ever."""
    server.terminate()
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _find_places(test: PlaceDataset, run: RunFolder, address: str) -> None:
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
    model, orientation = run.load_model(), orientation_of(run.settings)
    images = [load_image(photo, (height, width), None, orientation, antialiases(model)) for photo in photos]
    expected = model(np.stack(images)).numpy()
    print(f"Cosine of the served descriptors to the Keras model's: {np.sum(descriptors * expected, 1).min():.6f}")


if __name__ == "__main__":
    flags.DEFINE_string("output", "demo", "Folder for everything that the demo makes.")
    flags.DEFINE_string("data", None, "Your own photographs; by default a rendered town.")
    flags.DEFINE_string("weights", "imagenet", "'imagenet', a weights file, or a .keras model of your own.")
    flags.DEFINE_enum("preprocessing", None, ["caffe", "torch"], "What the weights want, where that is not known.")
    flags.DEFINE_string("image_size", None, "height,width instead of the demo's own.")
    flags.DEFINE_integer("epochs", None, "Epochs instead of the demo's own.")
    for radius in RADII:
        flags.DEFINE_float(radius, None, "Metres instead of those of trainers.pitts.")
    flags.DEFINE_integer("seed", 0, "Of the town and of the training.")
    app.run(expected_errors("trainers.demo")(main))
