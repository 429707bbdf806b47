"""Exports a model, serves it, and asks the server where a photo was taken.

python examples/serve.py pitts30k runs/pitts30k/model.keras photo.jpg --image_size 480 640
"""

import argparse
import tempfile
from pathlib import Path

import keras_sare
from export.converters.saved_model import SavedModelOptions, write_saved_model
from export.source import open_source
from serving.client import EmbeddingClient
from serving.models.manager import ModelManager
from serving.rpc.server import ModelServer


def locate(root: str, model_file: str, photo: str, image_size: tuple[int, int], output: str) -> str:
    """Returns the database photo that is most similar to `photo`, as a server of the exported model sees them."""
    write_saved_model(open_source(model=model_file, size=image_size), Path(output, "1"), SavedModelOptions())
    server = ModelServer(ModelManager.from_folder("keras_sare", output), port=0)
    server.start()
    places = keras_sare.open_dataset(root, split="test").database
    with EmbeddingClient(f"localhost:{server.port}") as client:
        database = client.embed_files(places.paths.tolist())
        _, nearest = keras_sare.nearest(client.embed_files([photo]), database, k=1)
    server.stop(grace=1.0)
    return str(places.paths[nearest[0, 0]])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("root", "model", "photo"):
        parser.add_argument(name)
    parser.add_argument("--image_size", type=int, nargs=2, default=(480, 640), help="Height and width.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(locate(given.root, given.model, given.photo, tuple(given.image_size), folder))
