"""Recall without the photos that are in the database themselves, where any model finds them."""

from keras_sare.datasets import PlaceDataset
from keras_sare.evaluation.protocols.place_protocol import PlaceProtocol

WITHOUT_OWN_PHOTO = PlaceProtocol(
    name="excluding the query's own photo", stem="recall_without_own_photos", exclude=PlaceDataset.own_photos
)
