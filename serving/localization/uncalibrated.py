"""What a map's calibrations say nothing of."""

import logging

from keras_sare.localization import IndexRecord

logger = logging.getLogger(__name__)

_ANSWERS = {"near": "near a rough position", "reranked": "that are re-ranked", "walks": "of walks"}
_FLAGS = {"near": "", "reranked": " --rerank=N --map_photos=FOLDER", "walks": " [--walk_gap=METRES]"}


def warn_of_uncalibrated(name: str, record: IndexRecord, of: str) -> None:
    """Logs that answers of a kind have no probability on a map which says how sure others are, and what gives it one.

    Args:
        name: of the map.
        record: of its index.
        of: kind of the answers; see `Calibration`.
    """
    if record.calibrations and of not in record.calibrations:
        logger.warning(
            "Map %s: answers %s have no probability and are not known, for the map's calibration is not of them. Run "
            "python -m serving.index calibrate INDEX --root=DATA --model=MODEL%s",
            name,
            _ANSWERS[of],
            _FLAGS[of],
        )
