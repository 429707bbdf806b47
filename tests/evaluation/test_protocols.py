import numpy as np
import pytest

from keras_sare.datasets import ImageSet, PlaceDataset
from keras_sare.evaluation.protocols import OTHER_TRAVERSALS, PROTOCOLS, WITHOUT_OWN_PHOTO


def street(traversals=True):
    """Database and queries of one file each; the second query's file is in the database too."""

    def side(paths, names):
        return ImageSet(paths, np.zeros((len(paths), 2)), traversals=np.array(names) if traversals else None)

    return PlaceDataset("street", side(["a", "b", "c"], ["x", "y", "x"]), side(["q", "b"], ["x", "z"]))


def test_protocols_are_told_apart_by_name_and_files():
    assert len({protocol.name for protocol in PROTOCOLS}) == len(PROTOCOLS)
    assert len({protocol.stem for protocol in PROTOCOLS} | {"recall"}) == len(PROTOCOLS) + 1


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.stem)
def test_every_protocol_excludes_database_images_for_each_query_or_knows_nothing_of_them(protocol):
    for dataset in (street(), street(traversals=False)):
        excluded = protocol.exclude(dataset)
        assert len(excluded) in (0, len(dataset.queries))
        assert all(np.isin(each, np.arange(len(dataset.database))).all() for each in excluded)


def test_own_traversal_and_own_photo_are_excluded():
    assert [each.tolist() for each in OTHER_TRAVERSALS.exclude(street())] == [[0, 2], []]
    assert [each.tolist() for each in WITHOUT_OWN_PHOTO.exclude(street())] == [[], [1]]
    assert len(OTHER_TRAVERSALS.exclude(street(traversals=False))) == 0
