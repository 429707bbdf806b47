"""What augmentation costs: a training step from the store of the frozen layers' output, and from changed pixels.

    python benchmarks/augmentation.py                                     # a few minutes
    python benchmarks/augmentation.py --images=FOLDER --tuples=4 --steps=5

VGG16 with NetVLAD, 64 clusters, trained from conv5_1; SARE, 10 negatives. A step is one that the training loop makes:
its input is read, decoded and changed while the step before it is computed, on the same processor. The input alone is
what that takes with nothing else to do. Without --images generated photos of 640 x 480 are read; what the weights and
the pixels are does not matter to the time.
"""

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from keras_sare.datasets import Augmentation, load_image
from keras_sare.extraction.inputs import ImageInputs, StoredInputs
from keras_sare.losses import SARELoss
from keras_sare.mining import tuple_dataset
from keras_sare.models import build, freeze_before, split
from keras_sare.training.data.augmented_inputs import AugmentedInputs
from keras_sare.training.step import make_train_step

CUT = "conv5_1"
CHANGES = Augmentation(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, scale=0.2, flip=True)
TUPLE = 12

Gather = Callable[[Any], Any]


def write_photos(folder: Path, count: int) -> list[str]:
    """Writes JPEG files of smooth noise, which compress as photos do."""
    random = np.random.default_rng(0)
    paths = [str(folder / f"{i}.jpg") for i in range(count)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        coarse.resize((640, 480), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def write_store(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Writes float16 rows like those that the store keeps."""
    rows = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    rows[:] = np.random.default_rng(0).random(shape, np.float32)
    rows.flush()
    return np.load(path, mmap_mode="r")


def batches(gather: Gather, images: int, flags: argparse.Namespace) -> Iterator[Any]:
    """Endless batches of tuples of random images."""
    random = np.random.default_rng(1)
    rows = np.stack([random.choice(images, TUPLE, replace=False) for _ in range(100 * flags.tuples)])
    return iter(tuple_dataset(rows, gather, flags.tuples).repeat())


def measure(work: Callable[[], Any], repetitions: int, skipped: int) -> tuple[float, float]:
    """Wall time and processor time of a call, the median and the mean, after some calls that are not counted.

    Other programs on the machine lengthen the first and hardly the second.
    """
    for _ in range(skipped):
        work()
    seconds = []
    processor = time.process_time()
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)), (time.process_time() - processor) / repetitions


def print_steps(inputs: dict[str, tuple[Gather, Any]], images: int, flags: argparse.Namespace) -> None:
    """Prints the time of a step for each way to get its input."""
    print(f"{flags.tuples * TUPLE} images a step at {flags.size[0]} x {flags.size[1]}; seconds, and of the processor\n")
    print("| input | input alone | processor | step | processor | ratio of steps |\n|---|---:|---:|---:|---:|---:|")
    first = None
    for name, (gather, step) in inputs.items():
        source = batches(gather, images, flags)
        # The few that are read ahead would come for nothing.
        alone = measure(lambda source=source: next(source), 4 * flags.steps, 8)
        source = batches(gather, images, flags)
        whole = measure(lambda source=source, step=step: step(*next(source)).numpy(), flags.steps, 1)
        first = first or whole
        print(
            f"| {name} | {alone[0]:.3f} | {alone[1]:.3f} | {whole[0]:.2f} | {whole[1]:.2f} "
            f"| {whole[0] / first[0]:.1f} |",
            flush=True,
        )


def print_changes(path: str, size: tuple[int, int]) -> None:
    """Prints the processor time of each change of one image."""
    image = tf.constant(load_image(path, size))
    print("\n| change | processor ms an image |\n|---|---:|", flush=True)
    single = [field.name for field in dataclasses.fields(CHANGES)]
    changes = {name: Augmentation(**{name: getattr(CHANGES, name)}) for name in single}
    for name, change in {"none": Augmentation(), **changes, "all": CHANGES}.items():
        seeds = tf.data.Dataset.range(10**9).map(lambda i: tf.stack([0, tf.cast(i, tf.int32)]))
        source = iter(seeds.map(lambda seed, change=change: change(image, seed)))
        print(f"| {name} | {1000 * measure(lambda source=source: next(source), 200, 20)[1]:.2f} |", flush=True)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="240,320", help="height,width")
    parser.add_argument("--tuples", type=int, default=1, help="Tuples in a step.")
    parser.add_argument("--steps", type=int, default=3, help="That are measured, after one that is not.")
    parser.add_argument("--images", type=Path, help="Folder of JPEG files; by default generated ones.")
    flags = parser.parse_args()
    flags.size = tuple(map(int, flags.size.split(",")))

    model = build("vgg16_netvlad", weights=None)
    freeze_before(model, CUT)
    frozen, head = split(model, CUT)
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(head.trainable_variables)
    arguments = (tf.distribute.get_strategy(), head, SARELoss(), optimizer, 1e-3)
    from_store = make_train_step(*arguments)
    from_pixels = make_train_step(*arguments, frozen=frozen)
    from_changed = make_train_step(*arguments, frozen=frozen, share=False)
    with tempfile.TemporaryDirectory() as folder:
        if flags.images:
            paths = np.array(sorted(map(str, flags.images.rglob("*.jpg"))))
        else:
            paths = np.array(write_photos(Path(folder), 100))
        shape = (len(paths), *frozen.compute_output_shape((1, *flags.size, 3))[1:])
        stored = StoredInputs(write_store(Path(folder) / "store.npy", shape))
        changed = AugmentedInputs(paths, flags.size, CHANGES, seed=0)
        inputs = {
            "store": (stored.gather, from_store),
            "pixels": (ImageInputs(paths, flags.size).gather, from_pixels),
            "changed pixels": (changed.for_epoch(1), from_changed),
        }
        print_steps(inputs, len(paths), flags)
        print_changes(paths[0], flags.size)


if __name__ == "__main__":
    main()
