"""How often a model finds the place of a photo among the N most similar database photos.

python examples/evaluate.py pitts30k runs/pitts30k/model.keras --image_size 480 640
"""

import argparse

import keras

import keras_sare
from keras_sare.evaluation import RecallReport, format_table


def evaluate(root: str, model_file: str, image_size: tuple[int, int], radius: float = 25.0) -> RecallReport:
    """Measures recall@N on the test split of a dataset: right is a database photo within `radius` metres."""
    dataset = keras_sare.open_dataset(root, split="test")
    model = keras.saving.load_model(model_file, compile=False)
    queries = keras_sare.extract(model, dataset.queries.paths, image_size)
    database = keras_sare.extract(model, dataset.database.paths, image_size)
    positives = dataset.positives(radius)
    names = {"protocol": dataset.protocol(radius), "dataset": dataset.name}
    report, _ = keras_sare.evaluate(queries, database, positives, **names, exclude=dataset.own_timestamps())
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="Folder with places.csv or NetVLAD's .mat files.")
    parser.add_argument("model", help="A .keras file, for example of a finished run.")
    parser.add_argument("--image_size", type=int, nargs=2, default=(480, 640), help="Height and width.")
    parser.add_argument("--radius", type=float, default=25.0, help="Metres within which a photo is right.")
    arguments = parser.parse_args()
    report = evaluate(arguments.root, arguments.model, tuple(arguments.image_size), arguments.radius)
    print(format_table({"model": report}))
