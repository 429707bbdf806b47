"""Where was this photo taken: an index of a map, the position that its answers agree about, and how sure that is.

* `PlaceIndex`: descriptors, positions and thumbnails in a folder; `PlaceRows` go in, `Candidates` come out.
* `Localizer`: photos in, a `PhotoAnswer` of each out, on one map or several.
* `DescriptorLocalizer`: descriptors in, `Answers` out: position, probability, uncertainty, or "don't know"; those of
  single photos or of one walk, with what is known of them already (`Prior`, `Motion`).
* `estimate_positions`: the place that candidates agree about.
* `track_places`: the way through the candidates of a walk's photos; `match_traversal`: SeqSLAM.
* `Calibration`: the probability that an answer is right, learned from photos with known positions; one for each kind of
  answers: of single photos, re-ranked, near a rough position, of walks.
"""

from keras_sare.localization.answering.answers import Answers
from keras_sare.localization.calibration import Calibration, calibration_error, reliability
from keras_sare.localization.candidates import Candidates
from keras_sare.localization.estimates import Estimates, estimate_positions
from keras_sare.localization.index_record import IndexRecord
from keras_sare.localization.localizer import DescriptorLocalizer
from keras_sare.localization.photo_answers import PhotoAnswer, PhotoCandidate, photo_answers
from keras_sare.localization.photo_localizer import Localizer
from keras_sare.localization.photo_models import PhotoModel
from keras_sare.localization.place_index import Appended, PlaceIndex
from keras_sare.localization.place_rows import PlaceRows
from keras_sare.localization.priors.prior import Prior, box_around
from keras_sare.localization.priors.rough_position import rough_position
from keras_sare.localization.sequences.hidden_markov import Track, track_places
from keras_sare.localization.sequences.motion import Motion
from keras_sare.localization.sequences.straight_lines import LineMatches, match_traversal
from keras_sare.localization.sequences.walk_features import walk_features
from keras_sare.localization.storage.tables import DamagedIndexError

__all__ = [
    "Answers",
    "Appended",
    "Calibration",
    "Candidates",
    "DamagedIndexError",
    "DescriptorLocalizer",
    "Estimates",
    "IndexRecord",
    "LineMatches",
    "Localizer",
    "Motion",
    "PhotoAnswer",
    "PhotoCandidate",
    "PhotoModel",
    "PlaceIndex",
    "PlaceRows",
    "Prior",
    "Track",
    "box_around",
    "calibration_error",
    "estimate_positions",
    "match_traversal",
    "photo_answers",
    "reliability",
    "rough_position",
    "track_places",
    "walk_features",
]
