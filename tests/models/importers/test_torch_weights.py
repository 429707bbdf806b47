import hashlib
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from keras_sare.models.importers.formats.torch_file import write_torch
from keras_sare.models.importers.load import load_weights_from

DATA = Path(__file__).parents[2] / "data"
PARAMETERS = runpy.run_path(str(DATA / "torch_weights_parameters.py"))
with np.load(DATA / "torch_weights_oracle.npz") as archive:
    ORACLE = dict(archive)
"""Descriptors by the projects' own code, see make_torch_weights_oracle.py."""


def openibl(state):
    return {"state_dict": state, "epoch": 4, "best_recall5": 0.9}


def parallel(state):
    return {f"module.{key}": array for key, array in state.items()}


def nanne(state):
    optimizer = {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]}
    results = {"recalls": {1: 0.8, 5: 0.9}, "best_score": 0.9}
    return {"epoch": 9, "state_dict": state, **results, "optimizer": optimizer, "parallel": True}


def patch_netvlad(state):
    return {"num_pcs": 16, "state_dict": state}


def vgb(state):
    results = {"optimizer_state_dict": {}, "recalls": [80.0, 90.0], "best_r5": 90.0, "not_improved_num": 0}
    return {"epoch_num": 9, "model_state_dict": state, **results}


def cirtorch(state, meta):
    return {"epoch": 30, "meta": meta, "state_dict": state, "min_loss": 0.1, "optimizer": {"state": {}}}


def whitened(state, meta):
    learned = PARAMETERS["learned_whitening"](meta["outputdim"])
    return cirtorch(state, {**meta, "Lw": {"retrieval-SfM-120k": {"ss": learned, "ms": learned}}})


def classifier(state):
    return {**state, "classifier.6.weight": np.zeros((1, 1), "float32")}


def bare(state):
    return state


CASES = {
    "openibl_embednet": (openibl, {}),
    "openibl_embednetpca": (parallel, {}),
    "nanne_vgg16": (nanne, {}),
    "nanne_v2_parallel": (nanne, {}),
    "patch_netvlad": (patch_netvlad, {}),
    "vgb_vgg16_netvlad": (vgb, {}),
    "vgb_resnet50_netvlad": (vgb, {}),
    "vgb_vgg16_gem": (vgb, {}),
    "vgb_alexnet_gem_fc": (bare, {"l2": "after_pool"}),
    "vgb_alexnet_gem_wide_fc": (bare, {}),
    "vgb_alexnet_rmac": (vgb, {"preset": "alexnet_rmac", "l2": "before_pool"}),
    "vgb_alexnet_spoc": (vgb, {"preset": "alexnet_spoc", "l2": "after_pool"}),
    "cirtorch_vgg16_gem_whiten": (cirtorch, {}),
    "cirtorch_resnet101_gem": (cirtorch, {}),
    "cirtorch_alexnet_gemmp_lw": (whitened, {"whitening": ("retrieval-SfM-120k", "ss")}),
    "cirtorch_alexnet_rmac": (cirtorch, {}),
    "cirtorch_alexnet_regional_mac": (cirtorch, {}),
    "torchvision_vgg16": (classifier, {"preset": "vgg16_mac"}),
    "torchvision_alexnet": (classifier, {"preset": "alexnet_mac"}),
    "torchvision_resnet50": (bare, {"preset": "resnet50_mac"}),
}
"""What is stored around the state dict, and what the file does not tell."""

EMPTY_CLUSTERS = ("openibl_embednet", "openibl_embednetpca", "nanne_vgg16", "patch_netvlad", "vgb_vgg16_netvlad")
"""Where the photographs leave clusters of NetVLAD so empty that its rule of normalisation tells."""


def write_case(case, path, data):
    """Writes a file as the project does, of the names and shapes that the project's own model has."""
    content, arguments = CASES[case]
    shapes = json.loads(str(ORACLE[f"{case}/shapes"]))
    state = PARAMETERS["seeded_state"]({k: s for k, s in shapes.items() if not k.startswith("classifier.")}, data)
    meta = json.loads(str(ORACLE[f"{case}/meta"]))
    write_torch(path, content(state, meta) if meta else content(state))
    return arguments


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def photos(real_data):
    photos = PARAMETERS["photos"](real_data)
    assert hashlib.sha256(photos.tobytes()).hexdigest() == str(ORACLE["photos"])
    return photos


def test_every_case_of_the_oracle_is_tested():
    assert {key.split("/")[0] for key in ORACLE if "/" in key} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_descriptors_of_photographs_are_those_of_the_original(case, tmp_path, real_data, photos):
    arguments = write_case(case, tmp_path / "weights.pth", real_data)
    model = load_weights_from(tmp_path / "weights.pth", **arguments)
    descriptors = model(photos).numpy()
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, rtol=1e-5)
    expected = ORACLE[f"{case}/descriptors"]
    assert np.abs(expected[0] - expected[1]).max() > 4e-3  # So a wrong preprocessing, for one, would show.
    if case in ("vgb_vgg16_gem", "vgb_alexnet_rmac"):
        # With --l2=before_pool the benchmark leaves the descriptor at any length.
        assert np.abs(np.linalg.norm(expected, axis=1) - 1).min() > 0.01
        expected = unit(expected)
    np.testing.assert_allclose(PARAMETERS["shortened"](descriptors), expected, rtol=0, atol=1e-4)
    if case in EMPTY_CLUSTERS:
        model.get_layer("netvlad").normalization = "matlab"
        assert np.abs(PARAMETERS["shortened"](model(photos).numpy()) - expected).max() > 0.01
