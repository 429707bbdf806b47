"""Where was this photo taken: an index of a map, the position that its answers agree about, and how sure that is.

* `PlaceIndex`: descriptors, positions and thumbnails in a folder; `PlaceRows` go in, `Candidates` come out.
* `Localizer`: photos in, a `PhotoAnswer` of each out, on one map or several.
* `DescriptorLocalizer`: descriptors in, `Answers` out: position, probability, uncertainty, or "don't know".
* `estimate_positions`: the place that candidates agree about.
* `Calibration`: the probability that an answer is right, learned from photos with known positions.
"""

from keras_sare.localization.calibration import Calibration, calibration_error, reliability
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.estimates import Estimates, estimate_positions
from keras_sare.localization.index_record import IndexRecord
from keras_sare.localization.localizer import Answers, DescriptorLocalizer, box_around
from keras_sare.localization.photo_answers import PhotoAnswer, PhotoCandidate, photo_answers
from keras_sare.localization.photo_localizer import Localizer
from keras_sare.localization.photo_models import PhotoModel
from keras_sare.localization.place_index import Appended, PlaceIndex
from keras_sare.localization.place_rows import PlaceRows

__all__ = [
    "Answers",
    "Appended",
    "Calibration",
    "Candidates",
    "Estimates",
    "DescriptorLocalizer",
    "IndexRecord",
    "Localizer",
    "PhotoAnswer",
    "PhotoCandidate",
    "PhotoModel",
    "PlaceIndex",
    "PlaceRows",
    "box_around",
    "calibration_error",
    "estimate_positions",
    "photo_answers",
    "reliability",
]
