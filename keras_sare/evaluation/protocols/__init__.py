"""Protocols of place recognition: which database images may be retrieved for a query, and are reported separately.

To add one, write a file beside these and name its protocol in `PROTOCOLS`; see docs/extend/evaluation_protocol.md.
"""

from keras_sare.evaluation.protocols.other_traversals import OTHER_TRAVERSALS
from keras_sare.evaluation.protocols.place_protocol import PlaceProtocol
from keras_sare.evaluation.protocols.without_own_photo import WITHOUT_OWN_PHOTO

PROTOCOLS: tuple[PlaceProtocol, ...] = (
    WITHOUT_OWN_PHOTO,
    OTHER_TRAVERSALS,
)
"""Those that `report_places` measures beside the plain one, in this order, wherever a dataset allows them."""

__all__ = [
    "OTHER_TRAVERSALS",
    "PROTOCOLS",
    "PlaceProtocol",
    "WITHOUT_OWN_PHOTO",
]
