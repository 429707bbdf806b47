import dataclasses

import pytest

from keras_sare.evaluation.retrieval_report import RetrievalReport, check_same_evaluation, format_retrieval_table


def report(value=0.5, protocol="medium", ks=(1, 10), precisions=(0.75, 0.25), **changes):
    fields = {"dataset": "toy", "queries": 8, "queries_without_positive": 0, "database": 40}
    return RetrievalReport(
        **{**fields, **changes}, protocol=protocol, mean_average_precision=value, ks=ks, precisions=precisions
    )


def test_json_keeps_every_field_and_digit():
    one = report(1 / 3, precisions=(1 / 7, 2 / 3))

    again = RetrievalReport.from_json(one.to_json())

    assert again == one
    assert isinstance(again.ks, tuple)


def test_at_returns_the_precision_of_one_k():
    assert report().at(10) == 0.25


def test_a_report_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        report().dataset = "other"


def test_a_k_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match=r"`k` must be one of the measured k, \(1, 10\).*k=5"):
        report().at(5)


@pytest.mark.parametrize(("ks", "precisions"), [((1, 5), (0.5,)), ((5, 1), (0.5, 0.5)), ((1, 1), (0.5, 0.5))])
def test_ks_that_do_not_rise_or_fit_are_refused(ks, precisions):
    with pytest.raises(ValueError, match="`ks` must rise and have the same length"):
        report(ks=ks, precisions=precisions)


@pytest.mark.parametrize(("value", "precisions"), [(1.5, (0.5, 0.5)), (float("nan"), (0.5, 0.5)), (0.5, (-0.1, 0.5))])
def test_measures_outside_0_to_1_are_refused(value, precisions):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        report(value, precisions=precisions)


@pytest.mark.parametrize("text", ["[]", "{}", '{"dataset": "toy"}'])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError, match="`text` must hold a JSON object with the fields"):
        RetrievalReport.from_json(text)


def test_a_table_shows_map_with_the_gain_over_the_first_and_precision():
    reports = {
        "off the shelf": {"easy": report(0.5, "easy"), "hard": report(0.1, "hard", queries_without_positive=3)},
        "trained": {"easy": report(0.625, "easy"), "hard": report(0.05, "hard", queries_without_positive=3)},
    }

    assert format_retrieval_table(reports).splitlines() == [
        "| toy; 8 queries, 40 images | mAP easy | mAP hard (5 queries) | mP@10 easy | mP@10 hard |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| off the shelf | 50.0 | 10.0 | 25.0 | 25.0 |",
        "| trained | 62.5 (+12.5) | 5.0 (-5.0) | 25.0 | 25.0 |",
    ]


def test_a_table_shows_what_each_row_adds_to_the_one_that_it_builds_on():
    reports = {
        name: {"easy": report(value, "easy"), "hard": report(0.1, "hard")}
        for name, value in (("off the shelf", 0.5), ("trained", 0.625), ("trained + Lw", 0.75), ("trained + QE", 0.6))
    }
    bases = {"trained": "off the shelf", "trained + Lw": "trained", "trained + QE": "trained"}

    heading, lines, *rows = format_retrieval_table(reports, ks=(), bases=bases).splitlines()
    assert heading == "| toy; 8 queries, 40 images | mAP easy | mAP hard | adds, easy |"
    assert lines == "| --- | ---: | ---: | --- |"
    assert [row.split(" | ")[-1] for row in rows] == [
        " |",
        "+12.5 to off the shelf |",
        "+12.5 to trained |",
        "-2.5 to trained |",
    ]


@pytest.mark.parametrize("bases", [{"one": "other"}, {"other": "one"}])
def test_a_base_that_is_no_row_is_refused(bases):
    with pytest.raises(ValueError, match=r"`bases` must name rows, \['one'\]. Received: 'other'"):
        format_retrieval_table({"one": {"medium": report()}}, bases=bases)


def test_a_table_leaves_out_what_was_not_measured():
    table = format_retrieval_table({"one": {"medium": report()}}, ks=(1, 7))

    assert table.splitlines()[0] == "| toy; 8 queries, 40 images | mAP medium | mP@1 medium |"


@pytest.mark.parametrize("reports", [{}, {"one": {}}])
def test_no_report_is_refused(reports):
    with pytest.raises(ValueError, match="`reports` must hold a report for at least one protocol"):
        check_same_evaluation(reports)


@pytest.mark.parametrize(
    "other",
    [
        {"medium": report(database=41)},
        {"medium": report(dataset="other")},
        {"medium": report(ks=(1, 5))},
        {"hard": report(protocol="hard")},
        {"medium": report(), "hard": report(protocol="hard")},
    ],
)
def test_methods_that_were_not_measured_alike_are_refused(other):
    with pytest.raises(ValueError, match="`reports` must come from the same dataset and protocols"):
        format_retrieval_table({"one": {"medium": report()}, "two": other})
