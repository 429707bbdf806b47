"""What tells how good a model is after each epoch of training."""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from keras_sare.distribution.workers import Workers
from keras_sare.extraction.extractor import Extractor
from keras_sare.training.data.training_images import TrainingImages


class Report(Protocol):
    """What was measured."""

    def to_json(self) -> str:
        """Text that `Validation.is_better` reads back."""


Measured = TypeVar("Measured", bound=Report)


class Validation(ABC, Generic[Measured]):
    """A measure of a model on images that it is not trained on. The epoch where it is best is kept.

    Args:
        images: that the model is measured on.
    """

    def __init__(self, images: TrainingImages) -> None:
        self.images = images

    @abstractmethod
    def measure(self, extractor: Extractor, workers: Workers) -> Measured:
        """Measures the model of a extractor, as the chief finds it; all workers must make this call.

        Another machine may round otherwise, and all workers must keep the same epoch and stop after the same one.
        """

    @abstractmethod
    def is_better(self, report: Measured, best: str) -> bool:
        """Whether a report is strictly better than the one whose JSON is `best`."""

    @abstractmethod
    def figures(self, report: Measured) -> dict[str, float]:
        """What the log shows of a report, by name; the same names for all reports of a run, the first the main one."""
