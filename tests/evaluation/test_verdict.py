import json

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from keras_sare.evaluation.verdict import PairedDifference, format_verdict, judge, paired_difference


def answers(gained, lost, both, neither):
    """Right answers of two models: so many queries that only the first, only the second, both and none find."""
    first = np.repeat([True, False, True, False], [gained, lost, both, neither])
    second = np.repeat([False, True, True, False], [gained, lost, both, neither])
    order = np.random.default_rng(0).permutation(len(first))
    return first[order], second[order]


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    # By hand: two-sided binomial tails of a fair coin.
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (6, 0, 2 / 64), (8, 2, 2 * 56 / 1024), (3, 3, 1.0)],
)
def test_mcnemar_is_the_tail_of_a_fair_coin_over_the_queries_that_differ(gained, lost, p_value):
    for one, other in ((gained, lost), (lost, gained)):
        assert paired_difference(*answers(one, other, 7, 4)).p_value == pytest.approx(p_value)


def test_mcnemar_agrees_with_scipys_binomial_test():
    for gained, lost in np.random.default_rng(1).integers(0, 400, (50, 2)).tolist():
        expected = binomtest(lost, gained + lost).pvalue
        assert paired_difference(*answers(gained, lost, 10, 10)).p_value == pytest.approx(expected, rel=1e-9)


def test_queries_that_both_models_answer_alike_do_not_change_the_test():
    assert paired_difference(*answers(9, 2, 0, 0)).p_value == paired_difference(*answers(9, 2, 500, 300)).p_value


def test_difference_and_interval_agree_with_a_bootstrap_of_whole_queries():
    first, second = answers(22, 8, 60, 66)
    result = paired_difference(first, second)
    assert (result.gained, result.lost) == (22, 8)
    assert result.difference == pytest.approx(14 / 156)
    rng = np.random.default_rng(3)
    difference = first.astype(float) - second
    means = [difference[rng.integers(0, len(first), len(first))].mean() for _ in range(10_000)]
    # A standard error of such a quantile is 0.001.
    np.testing.assert_allclose(result.interval, np.quantile(means, [0.025, 0.975]), atol=0.005)
    assert result.interval[0] < result.difference < result.interval[1]


def test_interval_of_models_that_answer_alike_is_nothing():
    first, _ = answers(0, 0, 3, 5)
    assert paired_difference(first, first).interval == (0.0, 0.0)


def test_interval_holds_the_true_difference_in_95_of_100_samples():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        gained, lost, both, neither = rng.multinomial(286, [0.12, 0.06, 0.3, 0.52])
        low, high = paired_difference(*answers(gained, lost, both, neither)).interval
        held += low <= 0.06 <= high
    assert 0.91 <= held / 400 <= 0.98  # Four standard errors below, three above.


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((0,), (0,)), ((3, 1), (3, 1))])
def test_arrays_of_other_queries_are_refused(shapes):
    with pytest.raises(ValueError, match=r"`first` and `second` must be \[Q\] of one dtype.*Received: first.shape="):
        paired_difference(*(np.ones(shape, bool) for shape in shapes))


def test_right_answers_are_not_compared_with_scores():
    with pytest.raises(ValueError, match=r"of one dtype.*bool and float64"):
        paired_difference(np.ones(3, bool), np.ones(3))


def test_randomization_test_of_scores_counts_all_signs_of_the_differences():
    first = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    second = np.array([0.8, 0.6, 0.4, 0.5, 0.5])
    # 0.1, 0.2, 0.3 and 0.1 with any signs: only all plus and all minus are as far from 0.
    for one, other, difference in ((first, second, 0.14), (second, first, -0.14)):
        result = paired_difference(one, other)
        assert result.p_value == pytest.approx(2 / 16)
        assert result.difference == pytest.approx(difference)
        assert {result.gained, result.lost} == {4, 0}
    assert paired_difference(first, first) == PairedDifference(0.0, (0.0, 0.0), 0, 0, 1.0)


def test_randomization_test_of_many_scores_agrees_with_the_normal_approximation():
    rng = np.random.default_rng(7)
    second = rng.uniform(0.2, 0.7, 400)
    difference = rng.normal(0, 0.2, 400)
    error = difference.std(ddof=1) / 20
    difference += 2 * error - difference.mean()
    result = paired_difference(second + difference, second)
    assert result.p_value == pytest.approx(2 * norm.sf(2), abs=0.012)  # Four standard errors of 10,000 samples.
    np.testing.assert_allclose(result.interval, difference.mean() + error * np.array([-1.96, 1.96]), atol=error / 5)


def three_models(trained, whitened):
    """Of 100 queries, the first 36 found off the shelf."""
    queries = np.arange(100)
    return {
        "off the shelf": queries < 36,
        "trained, whitened to 64-D": queries < whitened,
        "trained": queries < trained,
    }


def test_best_is_named_with_what_the_others_lack():
    verdict = judge(three_models(trained=39, whitened=20))
    assert verdict.best == "trained"
    assert {name: one.gained for name, one in verdict.against.items()} == {
        "off the shelf": 3,
        "trained, whitened to 64-D": 19,
    }
    assert not verdict.is_beyond_chance("off the shelf")
    assert verdict.is_beyond_chance("trained, whitened to 64-D")
    text = format_verdict(verdict)
    assert text.startswith("Verdict: best is **trained**, recall@1 0.390.\n")
    assert "* +3.0 points over **off the shelf** (0.360), 95 % interval +0.0 to +7.0; 3 queries better, 0 worse" in text
    assert "p = 0.25: not beyond chance" in text
    assert "p = 3.8e-06: beyond chance" in text
    assert "model.keras" not in text


def test_several_comparisons_share_the_significance():
    found = np.arange(100)
    hits = {"a": found < 46, "b": found < 40, "c": found < 40}  # 6 gained of each: p is 1/32 = 0.031.
    assert judge({name: hits[name] for name in ("a", "b")}).is_beyond_chance("b")
    assert not judge(hits).is_beyond_chance("b")


def test_saved_model_that_is_not_the_best_is_said_to_be_so():
    reason = "recall@5 on val 0.800, without whitening 0.790"
    text = format_verdict(judge(three_models(39, 20)), "trained, whitened to 64-D", reason)
    assert f"Saved as model.keras: **trained, whitened to 64-D** ({reason})." in text
    assert "**trained** is better by 19.0 points, beyond chance." in text
    text = format_verdict(judge(three_models(39, 38)), "trained, whitened to 64-D", reason)
    assert "**trained** is better by 1.0 points, which may be chance." in text
    assert "is better" not in format_verdict(judge(three_models(39, 20)), "trained", reason)


def test_equally_good_models_are_best_together():
    text = format_verdict(judge(three_models(36, 20)), "trained")
    assert text.startswith("Verdict: best is **off the shelf** and **trained**, recall@1 0.360.")
    assert "as good as **trained** on every query" in text
    assert text.endswith("Saved as model.keras: **trained**.")


def test_single_model_is_compared_with_nothing():
    text = format_verdict(judge({"off the shelf": np.array([True, False])}))
    assert text.strip() == "Verdict: best is **off the shelf**, recall@1 0.500."


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="`answers` must hold at least one model"):
        judge({})


def test_verdict_on_average_precision_names_its_test():
    scores = {"off the shelf": np.array([0.3, 0.5]), "fine-tuned": np.array([0.5, 0.5])}
    text = format_verdict(judge(scores, "mAP"), "fine-tuned")
    assert text.startswith("Verdict: best is **fine-tuned**, mAP 0.500.")
    assert "Difference of mAP" in text
    assert "paired randomization test" in text
    assert "McNemar" not in text


def test_verdict_goes_into_json():
    verdict = judge(three_models(39, 20))
    stored = json.loads(json.dumps(verdict.to_dict()))
    assert (stored["best"], stored["measure"], stored["values"]["trained"]) == ("trained", "recall@1", 0.39)
    against = stored["against"]["trained, whitened to 64-D"]
    assert (against["gained"], against["lost"], against["beyond_chance"]) == (19, 0, True)
