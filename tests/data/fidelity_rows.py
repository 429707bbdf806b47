"""The row of a fidelity report that tests change for their own."""

from export.fidelity.fidelity import Fidelity

KERAS = Fidelity(
    artefact="Keras model",
    kind="keras",
    bytes=596_300_000,
    dim=4096,
    data="town_test, 308 database images and 286 queries, 25 m",
    images=594,
    cosine_min=1.0,
    cosine_median=1.0,
    ns=(1, 5, 10),
    recalls=(0.525, 0.70, 0.78),
    keras_recalls=(0.525, 0.70, 0.78),
    threads=2,
    image_size=(216, 384),
    latency_1=0.32,
    latency_8=2.4,
    peak_memory=1_890_000_000,
)
