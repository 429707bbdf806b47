"""Recipes: values of a configuration under a name, for the settings that are not given."""

from trainers.config.pitts import PittsConfig
from trainers.config.retrieval import RetrievalConfig

PITTS30K = PittsConfig(keep_untrained=False, patience=30)
"""NetVLAD and SARE on Pittsburgh, as published: the defaults, and what suits one's own photos less.

docs/methods.md says where it departs from the originals all the same.

    python -m trainers.pitts --root=PITTS --output=runs/pitts30k

Published on Pitts250k-test: recall@1 0.86 for NetVLAD, 0.89 for SARE.
"""

DEMO = PittsConfig(clusters=32, negatives=5, learning_rate=0.01, select_by=1)
"""Of `trainers.demo`, for small data sets: fewer clusters and larger steps than the papers'.

recall@5 is near 1 from the start, so recall@1 chooses the epoch.

    make demo

Rendered town, seed 0: test recall@1 from 0.378 to 0.750.
"""

FEW_PHOTOS = PittsConfig(
    train_from="conv5_3",
    negatives=5,
    mining="full",
    database_queries=True,
    refresh_every=312,
    loss_scale="tuple",
    optimizer="adam",
    learning_rate=3e-4,
    schedule="cosine",
    weight_decay=0.0,
    epochs=6,
    select="last",
    dim=128,  # Whitening needs more images than dimensions.
)
"""A few hundred photos: fewer layers to train, and every photo a query.

Steps do not depend on the scale of the loss, so that one learning rate serves all losses; a scale by violators, which
changes from batch to batch, would not cancel.

    python -m trainers.pitts --root=ie_tower --output=runs/few --recipe=few_photos --image_size=216,384 \\
        --precision=mixed_bfloat16

ie_tower: test recall@1 from 0.40 to 0.52 with SARE, in 4 minutes on two processor cores.
"""

STREETS = PittsConfig(
    train_from="conv5_3",
    batches="places",
    mining="full",
    loss="sare_joint",
    temperature=0.06,
    tuples_per_step=16,
    images_per_place=4,
    mirror=True,
    database_queries=True,
    refresh_every=1040,
    positive_radius=15.0,
    positive_heading=40.0,
    loss_scale="tuple",
    optimizer="adam",
    learning_rate=2e-4,
    schedule="cosine",
    weight_decay=0.0,
    epochs=2,
    select_by=0,
    dim=512,
)
"""A few thousand photos of a city's streets with positions, and headings where they are known.

Batches of places that look alike, of photos of both sides, half of them mirrored, instead of mined tuples: on
msls_london those do harm.

    python -m trainers.pitts --root=msls_london --output=runs/streets --recipe=streets --image_size=192,256

msls_london: test recall@1 from 0.39 to 0.49, in 11 minutes on two busy processor cores.
"""

PHONE = PittsConfig(
    model="efficientnet_lite0_netvlad",
    clusters=32,
    train_from="block5a_expand_conv",
    negatives=5,
    mining="full",
    database_queries=True,
    refresh_every=312,
    loss_scale="tuple",
    optimizer="adam",
    learning_rate=3e-4,
    schedule="cosine",
    weight_decay=0.0,
    epochs=3,
    select="last",
    dim=192,  # 0.7 million weights of whitening beside 0.7 million of the network.
)
"""A model for phones from few photos: few clusters, and the network's last stage is trained with them.

    python -m trainers.pitts --root=ie_tower --output=runs/phone --recipe=phone --image_size=216,384

ie_tower: test recall@1 from 0.40 to 0.51, whitened 0.46, in 15 minutes on two busy processor cores.
"""

RECIPES = {"pitts30k": PITTS30K, "demo": DEMO, "few_photos": FEW_PHOTOS, "streets": STREETS, "phone": PHONE}
"""Of `trainers.pitts`."""

RETRIEVAL_SFM = RetrievalConfig(keep_untrained=False)
"""CNN Image Retrieval Learns from BoW, as published: the defaults, and that a trained epoch is kept.

    python -m trainers.retrieval_sfm --dataset=retrieval-SfM-120k.pkl --images=ims --output=runs/mac

Published on Oxford5k: mAP 0.797 with learned whitening.
"""

FEW_BUILDINGS = RetrievalConfig(
    train_from="conv5_1",
    negatives_from="N1",
    tuples_per_step=2,
    mine_times=1,
    loss_scale="tuple",
    optimizer="adam",
    learning_rate=1e-5,
    schedule="cosine",
    weight_decay=0.0,
    epochs=10,
    select="last",
)
"""A hundred photos: fewer layers to train, more steps from the same tuples, few other buildings to be negatives.

    python -m trainers.retrieval_sfm --dataset=runs/sfm/sfm.npz --output=runs/mac --recipe=few_photos

kitay_gorod, 130 photos: mAP from 35.7 to 43.9, with learned whitening 56.9.
"""

RETRIEVAL_RECIPES = {"retrieval_sfm": RETRIEVAL_SFM, "few_photos": FEW_BUILDINGS}
"""Of `trainers.retrieval_sfm`."""
