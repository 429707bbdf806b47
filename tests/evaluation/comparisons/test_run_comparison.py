import csv
import io
from dataclasses import replace

import pytest

from keras_sare.evaluation import RecallReport
from keras_sare.evaluation.comparisons.run_comparison import FinishedRun, comparison_csv, format_comparison
from keras_sare.evaluation.model_names import UNTRAINED

NS = (1, 5, 10, 20)


def report(recall, protocol="recall@N within 25 m", dataset="town"):
    return RecallReport(protocol, dataset, 40, 0, 80, NS, tuple(min(1, recall + 0.1 * i) for i in range(4)))


def run(kind, seed, before, after, traversals=True, seconds=90.0):
    def reports(shift, protocol):
        return {"off the shelf": report(before - shift, protocol), "trained": report(after - shift, protocol)}

    other = reports(0.25, "excluding the query's traversal") if traversals else {}
    return FinishedRun(kind, seed, reports(0, "recall@N within 25 m"), other, epochs=5, best_epoch=3, seconds=seconds)


@pytest.fixture
def runs():
    return [run("sare", 0, 0.4, 0.5), run("sare", 1, 0.45, 0.6), run("triplet", 0, 0.4, 0.35)]


def test_means_and_deviations_over_seeds_stand_above_each_run(runs):
    assert format_comparison(runs[:2]) == "\n".join(
        [
            "town, recall@N within 25 m; 40 queries, 80 images. Mean ± standard deviation over the seeds:",
            "",
            "|  | model | seeds | recall@1 | recall@5 | recall@10 | gain of recall@1, points |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            "|  | off the shelf | 2 | 0.425 ± 0.035 | 0.525 ± 0.035 | 0.625 ± 0.035 |  |",
            "| sare | trained | 2 | 0.550 ± 0.071 | 0.650 ± 0.071 | 0.750 ± 0.071 | +12.5 ± 3.5 |",
            "",
            "town, excluding the query's traversal; 40 queries, 80 images. Mean ± standard deviation over the seeds:",
            "",
            "|  | model | seeds | recall@1 | recall@5 | recall@10 | gain of recall@1, points |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            "|  | off the shelf | 2 | 0.175 ± 0.035 | 0.275 ± 0.035 | 0.375 ± 0.035 |  |",
            "| sare | trained | 2 | 0.300 ± 0.071 | 0.400 ± 0.071 | 0.500 ± 0.071 | +12.5 ± 3.5 |",
            "",
            "Each run, with its gain over its own start:",
            "",
            "| kind | seed | model | recall@1 | recall@5 | recall@10 | gain | other traversals recall@1 | "
            "other traversals recall@5 | other traversals recall@10 | other traversals gain | epochs | "
            "best epoch | minutes |",
            "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            "| sare | 0 | trained | 0.500 | 0.600 | 0.700 | +10.0 | 0.250 | 0.350 | 0.450 | +10.0 | 5 | 3 | 1.5 |",
            "| sare | 1 | trained | 0.600 | 0.700 | 0.800 | +15.0 | 0.350 | 0.450 | 0.550 | +15.0 | 5 | 3 | 1.5 |",
        ]
    )


def test_kinds_keep_their_order_and_a_single_seed_has_no_deviation(runs):
    lines = format_comparison(runs).splitlines()
    assert lines[5] == "| sare | trained | 2 | 0.550 ± 0.071 | 0.650 ± 0.071 | 0.750 ± 0.071 | +12.5 ± 3.5 |"
    assert lines[6] == "| triplet | trained | 1 | 0.350 | 0.450 | 0.550 | -5.0 |"


def test_a_seed_that_several_kinds_share_counts_once_off_the_shelf(runs):
    assert "|  | off the shelf | 2 | 0.425 ± 0.035 |" in format_comparison(runs)


def test_traversals_that_were_not_measured_have_no_columns():
    text = format_comparison([run("sare", 0, 0.4, 0.5, traversals=False)])
    assert "pass" not in text
    assert "| sare | 0 | trained | 0.500 | 0.600 | 0.700 | +10.0 | 5 | 3 | 1.5 |" in text


def test_recalls_that_a_small_database_leaves_out_have_no_columns():
    small = RecallReport("recall@N", "town", 4, 0, 6, (1, 5), (0.25, 0.5))
    one = FinishedRun("sare", 0, {"before": small, "after": small}, {}, epochs=1, best_epoch=0)
    assert "recall@10" not in format_comparison([one])


def test_an_unknown_time_is_shown_as_such(runs):
    unknown = replace(runs[0], seconds=None)
    assert format_comparison([unknown]).endswith("| 5 | 3 | – |")
    assert comparison_csv([unknown]).endswith(",5,3,\n")


def test_the_csv_holds_every_run_and_model_unrounded(runs):
    rows = list(csv.DictReader(comparison_csv(runs).splitlines()))
    assert [(row["kind"], row["seed"], row["model"]) for row in rows] == [
        (kind, seed, model)
        for kind, seed in (("sare", "0"), ("sare", "1"), ("triplet", "0"))
        for model in ("off the shelf", "trained")
    ]
    assert float(rows[1]["recall@1"]) == runs[0].recall["trained"].at(1)
    assert float(rows[5]["other traversals recall@5"]) == runs[2].other_traversals["trained"].at(5)
    assert float(rows[3]["gain"]) == pytest.approx(15)
    assert (rows[0]["epochs"], rows[0]["best epoch"], rows[0]["minutes"]) == ("5", "3", "1.5")


@pytest.mark.parametrize("lay_out", [format_comparison, comparison_csv])
def test_no_runs_are_refused(lay_out):
    with pytest.raises(ValueError, match="`runs` must hold at least one finished run. Received: none"):
        lay_out([])


def test_runs_on_different_datasets_are_refused(runs):
    elsewhere = replace(runs[1], recall={model: report(0.5, dataset="city") for model in runs[1].recall})
    with pytest.raises(ValueError, match="same dataset and protocol.*sare, seed 1, off the shelf"):
        format_comparison([runs[0], elsewhere])


def test_runs_with_other_models_are_refused(runs):
    renamed = replace(runs[1], recall={"off the shelf": report(0.4), "whitened": report(0.5)})
    with pytest.raises(ValueError, match="models of the same names.*sare, seed 1.*whitened"):
        format_comparison([runs[0], renamed])


def test_runs_of_which_some_have_no_other_traversals_are_refused(runs):
    with pytest.raises(ValueError, match="in the same way"):
        format_comparison([runs[0], run("sare", 1, 0.4, 0.5, traversals=False)])


def test_runs_that_kept_the_model_before_training_are_compared_with_others_and_named_by_what_they_kept(runs):
    untrained = [{"off the shelf": each["off the shelf"], UNTRAINED: each["trained"]} for each in runs[1].protocols()]
    mixed = [runs[0], replace(runs[1], recall=untrained[0], other_traversals=untrained[1], best_epoch=0)]
    lines = format_comparison(mixed).splitlines()
    assert lines[5] == "| sare | kept epoch | 2 | 0.550 ± 0.071 | 0.650 ± 0.071 | 0.750 ± 0.071 | +12.5 ± 3.5 |"
    assert [line[:40] for line in lines[-2:]] == [
        "| sare | 0 | trained | 0.500 | 0.600 | 0",
        "| sare | 1 | untrained (epoch 0) | 0.600",
    ]
    assert [row["model"] for row in csv.DictReader(io.StringIO(comparison_csv(mixed)))][1::2] == ["trained", UNTRAINED]
