"""Seeded feature maps and queries that the authors' localisation and ours are given."""

import numpy as np

CHANNELS = 24
CASES = 60
SIZES = [(30, 40), (40, 30), (48, 64), (22, 15), (14, 40), (9, 11)]


def case(index: int) -> tuple[np.ndarray, np.ndarray, float]:
    """A map of levels 0 to 8, uint8 [height, width, channels]; a query, float64 [channels]; its aspect ratio."""
    random = np.random.RandomState(index)
    height, width = SIZES[index % len(SIZES)]
    # Sparse, and seldom strong, as activations after a ReLU are.
    levels = np.floor(9 * random.random_sample((height, width, CHANNELS)) ** 12)
    aspect = np.exp(random.uniform(-0.6, 0.6))
    tall = random.randint(3, height // 2)
    wide = min(width // 2, max(3, round(tall / aspect)))
    y = random.randint(height - tall)
    x = random.randint(width - wide)
    # An object: some channels are strong inside of a box.
    strong = random.random_sample(CHANNELS) < 0.4
    inside = np.floor(9 * random.random_sample((tall, wide, CHANNELS)) ** 4)
    levels[y : y + tall, x : x + wide] = np.maximum(levels[y : y + tall, x : x + wide], inside * strong)
    query = strong * random.uniform(20, 90, CHANNELS) + random.uniform(0, 15, CHANNELS)
    return levels.astype(np.uint8), query, aspect
