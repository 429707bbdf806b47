"""Numbers of a training run on places."""

from dataclasses import dataclass

from keras_sare.training.settings.training_settings import TrainingSettings
from keras_sare.utils.arguments import plain_arguments
from keras_sare.utils.settings import setting


@plain_arguments
@dataclass(frozen=True)
class PlaceSettings(TrainingSettings):
    """The recipe of NetVLAD's weakly supervised training; the defaults are those for Pitts30k.

    But for `keep_untrained` and `patience`, whose defaults suit one's own photos.

    Reference: Arandjelovic et al., "NetVLAD", CVPR 2016, appendix B; Liu, Li, Dai, ICCV 2019, section 5.

    Attributes:
        batches: 'tuples' trains on tuples of a query, its best positive and mined hard negatives; 'places' on batches
            of `tuples_per_step` places far from one another, each with `images_per_place` images that are each other's
            positives, and the negatives of those of all other places: `PlaceBatchMiner`, `PlaceBatchLoss`. Then
            `negatives`, `negative_pool` and `loss_scale` have no effect.
        images_per_place: images of a place in such a batch.
        negative_pool: random definite negatives among which the hardest are looked for.
        mining: 'random' looks for them in `negative_pool`, 'full' in the whole database. Of batches of places: places
            at random, or such as look alike, from the queries of one refresh.
        database_queries: whether database images are queries of tuples too, each with other database images as positive
            and negatives. For small sets: more tuples from the same photos.
        refresh_every: queries after which cached descriptors are recomputed, rounded down to whole steps; doubles when
            the learning rate halves.
        select_by: the N of the validation recall@N that chooses the best epoch (`keras_sare.evaluation.better`). The
            published rule is 5; where that is near 1 before training, it cannot tell epochs apart, and 1 can. 0: the
            mean reciprocal rank of the first right image decides, to which every query adds: for few queries.
        min_positive: metres; potential positives are farther than this. None takes the dataset's: 1 for dbStruct files,
            where nearer ones are the query's own panorama, and 0 for others, which excludes nothing but the query's own
            photo.
        positive_radius: metres; potential positives are within this.
        positive_heading: degrees by which the headings of a query and of its positive may differ, where both are known:
            two photos side by side that look in opposite directions show nothing in common. None asks for no heading.
        negative_radius: metres; definite negatives are farther than this. Also the radius of the evaluation.
            Where a dataset knows places and no positions, the three have no effect.
    """

    batches: str = setting(
        "tuples",
        "Batches of mined tuples, or of places whose images are each other's positives and negatives.",
        choices=("tuples", "places"),
    )
    images_per_place: int = setting(4, "Images of a place where batches are of places.", least=2)
    negative_pool: int = 1000
    mining: str = setting(
        "random",
        "Negatives from a random pool or the whole database; or places at random or alike.",
        choices=("random", "full"),
    )
    database_queries: bool = setting(False, "Take database images as queries of tuples too.")
    refresh_every: int = setting(1000, "Queries between refreshes of the cache.", least=1)
    select_by: int = setting(5, "N of the validation recall@N that chooses the epoch; 0: reciprocal rank.", least=0)
    min_positive: float | None = setting(
        None, "Metres that positives exceed; by default 1 for .mat files, 0 for places.csv.", least=0
    )
    positive_radius: float = setting(10.0, "Metres within which positives are.")
    positive_heading: float | None = setting(
        None, "Degrees by which the headings of query and positive may differ; by default any.", least=0
    )
    negative_radius: float = setting(25.0, "Metres beyond which negatives are; of evaluation too.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= (self.min_positive or 0.0) < self.positive_radius <= self.negative_radius:
            raise ValueError(
                "The radii are metres with 0 <= `min_positive` < `positive_radius` <= `negative_radius`. Received: "
                f"min_positive={self.min_positive}, positive_radius={self.positive_radius}, "
                f"negative_radius={self.negative_radius}"
            )
        if self.refresh_every < self.tuples_per_step:
            raise ValueError(
                f"`refresh_every` must be at least `tuples_per_step`, {self.tuples_per_step}: a step trains on tuples "
                f"of one refresh. Received: refresh_every={self.refresh_every}"
            )
        if self.batches == "places" and self.tuples_per_step < 2:
            raise ValueError(
                "`tuples_per_step` must be at least 2 with batches='places': the negatives of a place are the images "
                f"of the others. Received: tuples_per_step={self.tuples_per_step}"
            )

    def steps_per_refresh(self, epoch: int, steps: int) -> int:
        """Steps between two refreshes of the cached descriptors; see `TrainingSettings`."""
        halvings = self.decays_before(epoch) if self.schedule == "halving" else 0
        return self.refresh_every * 2**halvings // self.tuples_per_step
