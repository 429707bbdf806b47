import pytest

from keras_sare.evaluation import RecallReport
from keras_sare.training.checkpoints.model_choice import choose


def report(*recalls, ns=(1, 5, 10)):
    return RecallReport("recall@N within 25 m", "val", 40, 0, 80, ns, recalls)


@pytest.mark.parametrize(
    ("plain", "whitened", "select_by", "wins", "reason"),
    [
        ((0.4, 0.8, 0.9), (0.3, 0.7, 0.95), 5, False, "recall@5 on val is 0.700 with whitening and 0.800 without"),
        ((0.4, 0.8, 0.9), (0.3, 0.85, 0.9), 5, True, "recall@5 on val is 0.850 with whitening and 0.800 without"),
        ((0.4, 0.8, 0.9), (0.3, 0.85, 0.9), 1, False, "recall@1 on val is 0.300 with whitening and 0.400 without"),
        ((0.4, 0.8, 0.9), (0.3, 0.8, 0.9), 5, False, "and at other N higher without"),
        ((0.3, 0.8, 0.9), (0.4, 0.8, 0.9), 5, True, "and at other N higher with it"),
        ((0.4, 0.8, 0.9), (0.4, 0.8, 0.9), 5, True, "alike at all N: the smaller descriptor"),
    ],
)
def test_validation_chooses_as_it_chooses_the_epoch_and_a_tie_goes_to_the_smaller_descriptor(
    plain, whitened, select_by, wins, reason
):
    chosen, why = choose(report(*plain), report(*whitened), select_by)
    assert chosen == wins
    assert why.endswith(reason)


def test_database_smaller_than_n_is_compared_by_the_largest_n_that_it_has():
    assert choose(report(0.4, 0.5, ns=(1, 3)), report(0.4, 0.6, ns=(1, 3)), 5) == (
        True,
        "recall@3 on val is 0.600 with whitening and 0.500 without",
    )
