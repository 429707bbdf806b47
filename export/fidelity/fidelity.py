"""How near an artefact comes to the Keras model that it was made of, and what an export may demand of it."""

import dataclasses
import math

from export.fidelity.photos import FidelityPhotos
from keras_sare.evaluation.json_report import JsonReport

NS = (1, 5, 10)
"""The N of recall@N that a fidelity report tells."""

_COSINE_SLACK = 1e-6


@dataclasses.dataclass(frozen=True)
class Fidelity(JsonReport):
    """What was measured of one artefact, in a process of its own on the CPU. `FidelityMeter.measure` makes it.

    Attributes:
        artefact: its name in the table, for example "tflite/float16.tflite"; "Keras model" for the model itself.
        kind: one of `export.formats.FORMATS`.
        bytes: size on disk; of a folder all its files.
        dim: components of its descriptors. Fewer than the Keras model's where the artefact leaves the last ones out.
        data: what photos it was measured on, for example "ie_tower_test, 594 images, within 25 m".
        images: their number.
        cosine_min: the smallest cosine over the images between the artefact's descriptor and the first `dim` components
            of the Keras model's.
        cosine_median: the median of these cosines.
        ns: the N of recall@N, of 1, 5 and 10 those within the database; empty where the photos have no positions.
        recalls: of the artefact, 0 to 1, one for each of `ns`; queries and database alike have its descriptors.
        keras_recalls: the same of the Keras model with all its components.
        threads: that the process computed with.
        image_size: (height, width) of the image that latency and memory were measured with.
        latency_1: seconds for one image, median of five calls after one to warm up.
        latency_8: seconds for a batch of eight such images; None where the artefact takes one image at a time.
        peak_memory: bytes, of the whole process after loading and one image.
    """

    artefact: str
    kind: str
    bytes: int
    dim: int
    data: str
    images: int
    cosine_min: float
    cosine_median: float
    ns: tuple[int, ...]
    recalls: tuple[float, ...]
    keras_recalls: tuple[float, ...]
    threads: int
    image_size: tuple[int, int]
    latency_1: float
    latency_8: float | None
    peak_memory: int

    @property
    def recall_drop(self) -> float | None:
        """Points of recall@1 (0 to 100) that the artefact is below the Keras model; negative where it is above.

        None where the photos have no positions.
        """
        # Rounded, so that a drop of exactly 0.5 points is not 0.5000000000000004.
        return round(100 * (self.keras_recalls[0] - self.recalls[0]), 6) if self.ns else None

    def is_comparable(self, other: "Fidelity") -> bool:
        """Whether both were measured on the same photos, at the same size and with as many threads."""

        def conditions(row: Fidelity) -> tuple[object, ...]:
            return row.data, row.images, row.ns, row.image_size, row.threads

        return conditions(self) == conditions(other)


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What an artefact must come up to before it may appear.

    Args:
        cosine: least cosine to the Keras model, over all images; None demands nothing. One that is too low by up to
            1e-6 passes: so far an exact artefact, which adds its float32 numbers in another order, may be from 1.
        recall_drop: most points of recall@1 (0 to 100) that may be lost; None demands nothing.

    Raises:
        ValueError: a demand is outside its range.
    """

    cosine: float | None = None
    recall_drop: float | None = None

    def __post_init__(self) -> None:
        if self.cosine is not None and not -1 <= self.cosine <= 1:
            raise ValueError(f"`cosine` must lie between -1 and 1, for example 0.995. Received: cosine={self.cosine}")
        if self.recall_drop is not None and not 0 <= self.recall_drop <= 100:
            raise ValueError(
                "`recall_drop` must be points of recall@1, 0 to 100, for example 0.5. "
                f"Received: recall_drop={self.recall_drop}"
            )

    def check_photos(self, photos: FidelityPhotos | None) -> None:
        """Checks that the demands can be measured on some photos; call it before anything is written.

        Args:
            photos: that artefacts will be measured on; None for rendered pictures.

        Raises:
            ValueError: recall is demanded, and the photos have no positions.
        """
        if self.recall_drop is not None and (photos is None or photos.places is None):
            received = "rendered pictures" if photos is None else photos.description
            raise ValueError(
                "`recall_drop` can be demanded only where recall is measured: name a dataset of places, with queries "
                f"and database at known positions. Received: recall_drop={self.recall_drop}, photos={received!r}"
            )

    def check(self, row: Fidelity) -> None:
        """Checks that an artefact comes up to the demands.

        Raises:
            ValueError: it falls short; the message says of which demand and by how much.
        """
        shortcomings = [text for text in (self._cosine_missed(row), self._recall_missed(row)) if text]
        if shortcomings:
            raise ValueError(f"{row.artefact!r} falls short of what the export requires: {'; '.join(shortcomings)}")

    def _cosine_missed(self, row: Fidelity) -> str | None:
        if self.cosine is None or row.cosine_min >= self.cosine - _COSINE_SLACK:
            return None
        return (
            f"`cosine` must be at least {self.cosine:g} for each of the {row.images} images ({row.data}). "
            f"Received: cosine={_below(row.cosine_min)}, {_above(self.cosine - row.cosine_min)} too low"
        )

    def _recall_missed(self, row: Fidelity) -> str | None:
        if self.recall_drop is None:
            return None
        if row.recall_drop is None:
            return f"`recall_drop` needs a dataset of places, and no recall was measured on {row.data}"
        if row.recall_drop <= self.recall_drop:
            return None
        return (
            f"`recall_drop` must be at most {self.recall_drop:g} points of recall@1 ({row.data}). "
            f"Received: recall_drop={row.recall_drop:.2f} (from {100 * row.keras_recalls[0]:.2f} to "
            f"{100 * row.recalls[0]:.2f}), {row.recall_drop - self.recall_drop:.2f} points too many"
        )


def _below(value: float) -> str:
    """Rounded down, so that what falls short never reads as if it did not."""
    return f"{math.floor(value * 1e6) / 1e6:.6f}"


def _above(value: float) -> str:
    return f"{math.ceil(value * 1e6) / 1e6:.6f}"
