import dataclasses

import pytest

from keras_sare.evaluation import RecallReport, better, format_table

NS = (1, 2, 3, 4, 5, 10, 20)


def _report(*recalls, ns=NS, **changes):
    fields = {
        "protocol": "recall@N, 25 m",
        "dataset": "toy",
        "queries": 8,
        "queries_without_positive": 1,
        "database": 40,
    }
    return RecallReport(**{**fields, **changes}, ns=ns, recalls=recalls)


@pytest.fixture
def report():
    return _report(0.125, 0.25, 0.25, 0.5, 0.5, 0.75, 0.875)


def test_json_keeps_every_field(report):
    again = RecallReport.from_json(report.to_json())

    assert again == report
    assert isinstance(again.ns, tuple)


def test_report_of_an_earlier_version_is_compared_with_one_of_today():
    earlier = _report(0.5, ns=(1,), protocol="recall@N within 25 m, own pass left out")
    today = _report(0.25, ns=(1,), protocol="recall@N within 25 m, excluding the query's traversal")

    assert better(RecallReport.from_json(earlier.to_json()), today)


def test_json_keeps_every_digit():
    report = _report(1 / 3, ns=(1,))

    assert RecallReport.from_json(report.to_json()).recalls == (1 / 3,)


def test_at_returns_the_recall_of_one_n(report):
    assert report.at(10) == 0.75


def test_a_report_cannot_be_changed(report):
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.dataset = "other"


def test_an_n_that_was_not_measured_is_refused(report):
    with pytest.raises(ValueError, match=r"`n` must be one of the measured N.*n=7"):
        report.at(7)


@pytest.mark.parametrize(("ns", "recalls"), [((1, 2), (0.5,)), ((), ())])
def test_ns_and_recalls_of_different_length_are_refused(ns, recalls):
    with pytest.raises(ValueError, match="`ns` and `recalls` must have the same length"):
        _report(*recalls, ns=ns)


@pytest.mark.parametrize("ns", [(2, 1), (1, 1)])
def test_ns_that_do_not_rise_are_refused(ns):
    with pytest.raises(ValueError, match="`ns` must rise"):
        _report(0.1, 0.2, ns=ns)


@pytest.mark.parametrize("recall", [-0.1, 1.1, float("nan")])
def test_a_recall_that_is_no_share_is_refused(recall):
    with pytest.raises(ValueError, match="`recalls` must be shares"):
        _report(recall, ns=(1,))


@pytest.mark.parametrize("text", ['{"ns": [1]}', "[1]", '"text"'])
def test_json_without_the_fields_of_a_report_is_refused(text):
    with pytest.raises(ValueError, match="`text` must hold a JSON object with the fields .*'protocol'.*Received"):
        RecallReport.from_json(text)


def test_the_higher_recall_at_5_is_better_whatever_the_rest():
    high = _report(0.1, 0.1, 0.1, 0.1, 0.6, 0.6, 0.6)
    low = _report(0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.9)

    assert better(high, low)
    assert not better(low, high)


@pytest.mark.parametrize("index", [3, 2, 1, 0, 5, 6])
def test_a_tie_goes_to_the_first_difference_at_4_3_2_1_10_20(index):
    order = [4, 3, 2, 1, 0, 5, 6]
    base = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    winner = list(base)
    loser = list(base)
    winner[index] += 0.05
    for later in order[order.index(index) + 1 :]:
        loser[later] += 0.05

    assert better(_report(*winner), _report(*loser))
    assert not better(_report(*loser), _report(*winner))


def test_another_n_may_decide_first():
    high = _report(0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)
    low = _report(0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)

    assert better(high, low, first=1)
    assert not better(high, low)


def test_reciprocal_rank_counts_every_query_and_a_rank_between_two_n_as_the_larger():
    """Of ten queries, four are right at once, two at the second, one within ten, three never."""
    ranks = _report(0.4, 0.6, 0.7, ns=(1, 2, 10))
    assert ranks.mean_reciprocal_rank == pytest.approx((4 / 1 + 2 / 2 + 1 / 10) / 10)
    later = _report(0.4, 0.5, 0.9, ns=(1, 2, 10))
    assert better(ranks, later, first=0)
    assert not better(later, ranks, first=0)
    assert better(later, ranks, first=10)
    assert not better(ranks, ranks, first=0)


def test_a_report_is_not_better_than_itself(report):
    assert not better(report, report)


def test_reports_of_a_database_smaller_than_5_are_compared_by_what_they_have():
    assert better(_report(0.1, 0.5, ns=(1, 2)), _report(0.2, 0.4, ns=(1, 2)))


@pytest.mark.parametrize("change", [{"dataset": "other"}, {"protocol": "10 m"}, {"queries": 9}, {"database": 41}])
def test_reports_of_different_conditions_are_not_compared(report, change):
    other = dataclasses.replace(report, **change)

    with pytest.raises(ValueError, match="`reports` must come from the same dataset and protocol.*Received: a="):
        format_table({"a": report, "b": other})
    with pytest.raises(ValueError, match="report_b="):
        better(report, other)


def test_the_table_shows_rows_and_the_ratio_of_each_to_the_first(report):
    trained = _report(0.25, 0.25, 0.25, 0.5, 0.75, 0.75, 0.875)

    assert format_table({"off the shelf": report, "trained": trained}).splitlines() == [
        "| toy, recall@N, 25 m; 8 queries (1 without a positive), 40 images "
        "| recall@1 | recall@5 | recall@10 | recall@20 |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| off the shelf | 0.125 | 0.500 | 0.750 | 0.875 |",
        "| trained | 0.250 | 0.750 | 0.750 | 0.875 |",
        "| trained / off the shelf | 2.00 | 1.50 | 1.00 | 1.00 |",
    ]


def test_one_report_has_no_ratio(report):
    assert len(format_table({"trained": report}).splitlines()) == 3


def test_a_ratio_to_nothing_is_a_dash_and_an_unmeasured_n_has_no_column():
    table = format_table({"a": _report(0.0, ns=(1,)), "b": _report(0.5, ns=(1,))})

    assert table.splitlines()[-1] == "| b / a | – |"


def test_an_empty_table_is_refused():
    with pytest.raises(ValueError, match="`reports` must hold at least one report"):
        format_table({})
