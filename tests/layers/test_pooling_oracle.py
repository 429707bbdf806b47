"""Our poolings against descriptors that the public projects' own code computed (tests/data/make_pooling_oracle.py)."""

from pathlib import Path

import numpy as np
import pytest

from keras_sare.layers import MAC, RMAC, CroW, GeM, NetVLAD, SPoC, region_grid
from keras_sare.models.initialise import assignment_sharpness

ORACLE = dict(np.load(Path(__file__).parents[1] / "data" / "pooling_oracle.npz"))
CLUSTERS, CHANNELS = ORACLE["centroids"].shape


def built(layer):
    layer.build((None, None, None, CHANNELS))
    return layer


def gem_with_an_exponent_for_each_channel():
    layer = built(GeM(per_channel=True))
    layer.set_weights([ORACLE["exponents"]])
    return layer


def whitened_rmac():
    layer = built(RMAC(whitening_dim=CHANNELS, include_global=True))
    layer.set_projection(ORACLE["projection"], ORACLE["bias"])
    return layer


def netvlad(method, alpha):
    layer = built(NetVLAD(CLUSTERS, method))
    layer.set_clusters(ORACLE["centroids"], float(alpha))
    return layer


@pytest.mark.parametrize(
    ("original", "make"),
    [
        ("cirtorch_mac", MAC),
        ("cirtorch_spoc", SPoC),
        ("cirtorch_gem", lambda: GeM(p=2.5)),
        ("cirtorch_gem_per_channel", gem_with_an_exponent_for_each_channel),
        ("cirtorch_rmac", lambda: RMAC(include_global=True)),
        ("cirtorch_rmac_whitened", whitened_rmac),
        ("crow_crow", CroW),
        ("nanne_vlad_preL2_intra", lambda: netvlad("vlad_preL2_intra", ORACLE["nanne_alpha"])),
        ("nanne_vlad_intra", lambda: netvlad("vlad_intra", ORACLE["nanne_alpha"])),
        ("nanne_vladv2_preL2_intra", lambda: netvlad("vladv2_preL2_intra", 2)),
        ("nanne_vladv2_intra", lambda: netvlad("vladv2_intra", 2)),
        ("openibl_vlad_preL2_intra", lambda: netvlad("vlad_preL2_intra", ORACLE["openibl_alpha"])),
    ],
)
def test_descriptors_equal_the_originals(original, make):
    layer = make()
    sizes = [name.split("/")[1] for name in ORACLE if name.startswith(f"{original}/")]
    assert len(sizes) == 3
    for size in sizes:
        np.testing.assert_allclose(layer(ORACLE[f"maps/{size}"]), ORACLE[f"{original}/{size}"], atol=1e-6)


@pytest.mark.parametrize("project", ["nanne", "openibl"])
def test_sharpness_of_the_assignment_equals_the_originals(project):
    assignment = NetVLAD().unit_assignment(ORACLE["centroids"])
    assert assignment_sharpness(ORACLE["sample"], *assignment) == pytest.approx(ORACLE[f"{project}_alpha"], rel=1e-5)


def test_regions_equal_cirtorchs_where_they_do_not_hang_on_rounding():
    theirs: dict[tuple[int, int], list[tuple[int, ...]]] = {}
    for height, width, *region in ORACLE["regions"].tolist():
        theirs.setdefault((height, width), []).append(tuple(region))
    assert len(theirs) == 32 * 32 + 5
    different = {size for size in theirs if [(y, x, side) for y, x, side, _ in region_grid(*size)] != theirs[size]}
    two_step_counts_equally_good = {(3, 11), (11, 3), (6, 22), (22, 6)}
    last_region_rounded_off_the_edge = {(2, 32), (32, 2)}
    assert different == two_step_counts_equally_good | last_region_rounded_off_the_edge
