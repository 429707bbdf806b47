"""How a walk or drive goes on from photo to photo."""

from dataclasses import dataclass

from keras_sare.utils.arguments import plain_arguments


@plain_arguments
@dataclass(frozen=True)
class Motion:
    """What is taken to be likely of two photos of one walk, one after the other.

    Args:
        speed: metres from one photo to the next, at most: 1.4 m a second on foot, 14 in a town's traffic.
        slack: metres by which two positions of the map may be wrong. Beyond `speed` the weight of a step falls as a
            normal distribution of this width.
        jump: weight of a step that is too long for `speed`, against 1 of one that is not: the walk was cut there, or
            its photos are out of order.
        unseen: weight of a photo whose place is not among its candidates, against 1 of its best candidate.
        memory: photos for which the way remembers where it was while they are unseen.
        temperature: how fast weights fall with similarity, as in `estimate_positions`.

    Raises:
        ValueError: a value is out of range.
    """

    speed: float = 20.0
    slack: float = 10.0
    jump: float = 1e-3
    unseen: float = 0.05
    memory: int = 4
    temperature: float = 0.02

    def __post_init__(self) -> None:
        for name in ("speed", "slack", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"`{name}` must be a positive number. Received: {name}={getattr(self, name)}")
        for name in ("jump", "unseen"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be above 0 and at most 1. Received: {name}={getattr(self, name)}")
        if self.memory < 0:
            raise ValueError(f"`memory` must be 0 or more. Received: memory={self.memory}")
