"""Protocols of place recognition: which database images are right for a query, and which may be retrieved.

* `NAMED`, `named_protocol(name)`: the published protocols as data, and `own`; `Protocol`: their rules.
* `ground_truth(protocol, dataset)`: what a protocol makes of a dataset.
* `PROTOCOLS`: exclusions that are reported beside any of them.

To add one, see docs/extend/evaluation_protocol.md.
"""

from keras_sare.evaluation.protocols.ground_truth import GroundTruth, check_columns, counted, ground_truth
from keras_sare.evaluation.protocols.named_protocols import NAMED, named_protocol
from keras_sare.evaluation.protocols.other_traversals import OTHER_TRAVERSALS
from keras_sare.evaluation.protocols.place_protocol import PlaceProtocol
from keras_sare.evaluation.protocols.protocol import EXCLUSIONS, Protocol
from keras_sare.evaluation.protocols.without_own_photo import WITHOUT_OWN_PHOTO

PROTOCOLS: tuple[PlaceProtocol, ...] = (
    WITHOUT_OWN_PHOTO,
    OTHER_TRAVERSALS,
)
"""Those that `report_places` measures beside the plain one, in this order, wherever a dataset allows them."""

__all__ = [
    "EXCLUSIONS",
    "GroundTruth",
    "NAMED",
    "OTHER_TRAVERSALS",
    "PROTOCOLS",
    "PlaceProtocol",
    "Protocol",
    "WITHOUT_OWN_PHOTO",
    "check_columns",
    "counted",
    "ground_truth",
    "named_protocol",
]
