import csv
from dataclasses import replace

import numpy as np
import pytest

from keras_sare.evaluation.comparisons.grid_runs import (
    OFF_THE_SHELF,
    GridRun,
    MeasuredRanks,
    RunCost,
    best_combination,
    compare_combinations,
)
from keras_sare.evaluation.comparisons.grid_tables import format_grid, grid_csv, runs_csv
from keras_sare.evaluation.comparisons.seed_statistics import estimate_difference, holm

QUERIES = 200


def measured(found, before=80, set_name="val", whitened=None, queries=QUERIES):
    """The first `found` queries are answered rightly, of the others half among the first five."""

    def ranks(count):
        return np.where(np.arange(queries) < count, 0, np.where(np.arange(queries) % 2, 3, 30))

    of = {OFF_THE_SHELF: ranks(before), "trained": ranks(found)}
    of |= {} if whitened is None else {"whitened": ranks(whitened)}
    return MeasuredRanks(set_name, f"town {set_name}", "within 25 m", 500, (1, 5, 10, 20), of)


def run(combination, seed, found, **tables):
    cost = RunCost(60.0 * (seed + 1), 90.0)
    return GridRun(combination, seed, 6, 5, cost, {"val": measured(found), **tables})


@pytest.fixture
def runs():
    found = {"loss=sare": (110, 112, 114), "loss=triplet": (90, 92, 94), "loss=contrastive": (60, 110, 80)}
    return [run(name, seed, found[name][seed]) for seed in range(3) for name in found]


def test_combinations_are_compared_with_off_the_shelf_and_with_the_baseline(runs):
    [sare, triplet, contrastive] = compare_combinations(runs, "val", "trained", "loss=triplet")
    assert (sare.combination, sare.seeds, sare.off_the_shelf) == ("loss=sare", (0, 1, 2), 0.4)
    assert sare.recalls[1].value == pytest.approx(112 / QUERIES)
    assert sare.recalls[5].value > sare.recalls[1].value
    hits = {name: np.stack([r.measured["val"].ranks["trained"] < 1 for r in runs if r.combination == name]) for name in
            ("loss=sare", "loss=triplet", "loss=contrastive")}  # fmt: skip
    over = [estimate_difference(hits[name], hits["loss=triplet"]) for name in ("loss=sare", "loss=contrastive")]
    assert [sare.over_baseline, contrastive.over_baseline] == over
    assert [sare.over_baseline_p, contrastive.over_baseline_p] == holm([one.p_value for one in over])
    assert (triplet.over_baseline, triplet.over_baseline_p) == (None, None)
    assert best_combination([triplet, sare, contrastive]) is sare


def test_the_tables_say_in_words_what_is_beyond_chance(runs):
    text = format_grid(runs, "loss=triplet")
    [sare, triplet, contrastive] = [line for line in text.splitlines() if line.startswith("| loss")][:3]
    assert "| 0.400 | 0.560 (0." in sare
    assert sare.endswith("| better beyond chance |")
    assert triplet.endswith("|  |  | baseline |")
    assert contrastive.endswith(
        "| may be chance |"
    )  # Its seeds differ too much, though the mean is over the baseline's.
    assert sare.count("gains beyond chance") == 1
    assert "town val, within 25 m; 200 queries, 500 images." in text
    assert "Best on validation: **loss=sare**, trained, recall@1 0.560. 9 runs of 3 combinations were looked at" in text
    assert "| loss=sare | 3 | 6.0 | 5.0 | 2.0 | 1.5 |" in text


def test_whitened_models_have_a_table_of_their_own(runs):
    assert "### val: whitened" not in format_grid(runs, "loss=sare")
    also = [replace(one, measured={"val": measured(100, whitened=120 + one.seed)}) for one in runs]
    text = format_grid(also, "loss=sare")
    assert "### val: whitened" in text
    assert "Best on validation: **loss=sare**, whitened, recall@1 0.605" in text


def test_only_what_loses_elsewhere_beyond_chance_is_a_fault(runs):
    lost = {"loss=sare": 60, "loss=triplet": 79, "loss=contrastive": 90}
    also = [
        replace(one, measured=one.measured | {"tower": measured(lost[one.combination], set_name="tower")})
        for one in runs
    ]
    text = format_grid(also, "loss=triplet").partition("### tower: trained")[2]
    assert "Not trained on" in format_grid(also, "loss=triplet")
    rows = [line for line in text.splitlines() if line.startswith("| loss")]
    assert ["FAULT" in row for row in rows[:3]] == [True, False, False]
    assert "may be chance" in rows[1]


def test_combinations_without_a_seed_in_common_are_not_compared(runs):
    chosen = [one for one in runs if (one.combination == "loss=triplet") == (one.seed == 0)]
    assert "no seed in common" in format_grid(chosen, "loss=triplet")
    # Without the baseline, which may still be to come, all else is told.
    others = [one for one in runs if one.combination != "loss=triplet"]
    assert format_grid(others, "loss=triplet").count("no seed in common") == 2


def test_a_single_combination_is_compared_with_its_start_alone(runs):
    text = format_grid(runs[::3], "loss=sare")
    assert "over loss=sare" not in text
    assert "gains beyond chance" in text


def test_csv_holds_the_same_unrounded(runs):
    rows = list(csv.DictReader(grid_csv(runs, "loss=triplet").splitlines()))
    [sare, _, _] = compare_combinations(runs, "val", "trained", "loss=triplet")
    assert float(rows[0]["recall@1 low"]) == sare.recalls[1].low
    assert float(rows[0]["over baseline high"]) == 100 * sare.over_baseline.high
    assert rows[1]["over baseline"] == ""
    each = list(csv.DictReader(runs_csv(runs).splitlines()))
    assert len(each) == 2 * len(runs)
    assert float(each[1]["recall@20"]) == (runs[0].measured["val"].ranks["trained"] < 20).mean()
    assert [each[i]["minutes"] for i in (0, 17)] == ["1.0", "3.0"]


def test_intervals_of_recalls_end_at_0_and_1(runs):
    [row] = compare_combinations(
        [run("a", seed, found) for seed, found in ((0, 199), (1, 200), (2, 1))], "val", "trained", "a"
    )
    assert (row.recalls[1].low, row.recalls[1].high) == (0, 1)


def test_recalls_that_a_small_database_leaves_out_have_no_columns(runs):
    small = replace(runs[0].measured["val"], ns=(1, 5))
    assert "recall@10" not in format_grid([replace(runs[0], measured={"val": small})], "loss=sare")


def test_runs_on_other_queries_are_not_laid_into_one_table(runs):
    other = replace(runs[1], measured={"val": measured(50, queries=100)})
    with pytest.raises(ValueError, match="same queries and database.*loss=sare, seed 0: .*loss=triplet, seed 0: .*100"):
        format_grid([runs[0], other], "loss=sare")
