"""SHA-256 digests that weights must have: known ones, or those that were seen when the weights were first used."""

import logging
from pathlib import Path

from keras_sare.utils.files import atomic_path

logger = logging.getLogger(__name__)


def check_pin(received: str, pin: Path, known: str | None = None) -> None:
    """Compares the digest of weights with the known one or, where none is known, with that of their first use.

    Args:
        received: SHA-256 of the weights.
        pin: file that keeps the digest of the first use; written where it is missing.
        known: SHA-256 that they must have, where somebody has published it.

    Raises:
        ValueError: the weights have another digest.
    """
    expected = known or _recorded(pin)
    if expected is None:
        _record(received, pin)
    elif received != expected:
        raise ValueError(
            f"Weights must have the SHA-256 that is known or that they had at their first use, {expected}; these were "
            f"damaged or exchanged. Delete {pin.with_suffix('')}* to fetch them again. Received: SHA-256 {received}"
        )


def _record(received: str, pin: Path) -> None:
    try:
        with atomic_path(pin) as path:
            path.write_text(received + "\n")
    except OSError as error:  # A cache that others filled may be for reading only.
        logger.warning("Cannot keep the SHA-256 of weights in %s: %s", pin, error.strerror)
    else:
        logger.info("SHA-256 of the weights at their first use: %s, kept in %s", received, pin)


def _recorded(pin: Path) -> str | None:
    return pin.read_text().strip() if pin.is_file() else None
