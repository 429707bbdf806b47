import pytest

from keras_sare.evaluation import RecallReport
from keras_sare.training.checkpoints.model_choice import choose


def report(*recalls, ns=(1, 5, 10)):
    return RecallReport("recall@N within 25 m", "val", 40, 0, 80, ns, recalls)


@pytest.mark.parametrize(
    ("plain", "whitened", "wins", "reason"),
    [
        ((0.4, 0.8, 0.9), (0.3, 0.8, 0.95), False, "is 0.4150 whitened and 0.4900 as it is"),
        ((0.4, 0.8, 0.9), (0.4, 0.9, 0.9), True, "is 0.5000 whitened and 0.4900 as it is"),
        ((0.4, 0.8, 0.9), (0.4, 0.8, 0.9), True, "is 0.4900 whitened and 0.4900 as it is: the smaller descriptor"),
    ],
)
def test_validation_chooses_by_reciprocal_rank_and_a_tie_goes_to_the_smaller_descriptor(plain, whitened, wins, reason):
    chosen, why = choose(report(*plain), report(*whitened))
    assert chosen == wins
    assert why == f"mean reciprocal rank on val {reason}"
