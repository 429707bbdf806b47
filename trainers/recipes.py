"""Recipes of `trainers.pitts` as data: values of its flags under a name."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    # NetVLAD and SARE on Pittsburgh, as published: the flags' own defaults.
    "pitts30k": {},
    # A few hundred photos: fewer layers to train, every photo a query, and steps that do not depend on the scale of the
    # loss, so that one learning rate serves all losses. ie_tower, --image_size=216,384, --precision=mixed_bfloat16:
    # recall@1 from 0.40 to 0.52 with SARE, in 4 minutes on two processor cores.
    "few_photos": {
        "train_from": "conv5_3",
        "negatives": 5,
        "mining": "full",
        "database_queries": True,
        "refresh_every": 312,
        "optimizer": "adam",
        "learning_rate": 3e-4,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "epochs": 6,
        "select": "last",
        # Whitening needs more images than dimensions.
        "dim": 128,
    },
}
"""By name: the values of the flags that the command line leaves open; a flag that is not named keeps its default."""
