"""Recipes of the training programs as data: values of their flags under a name."""

from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    # NetVLAD and SARE on Pittsburgh, as published: the flags' own defaults, and what suits one's own photos less.
    # docs/methods.md says where it departs from the originals all the same.
    "pitts30k": {
        "keep_untrained": False,
        "patience": 30,
    },
    # Of `trainers.demo`, for small data sets: fewer clusters and larger steps than the papers'; recall@5 is near 1 from
    # the start, so recall@1 chooses the epoch.
    "demo": {
        "clusters": 32,
        "negatives": 5,
        "learning_rate": 0.01,
        "select_by": 1,
    },
    # A few hundred photos: fewer layers to train, every photo a query, and steps that do not depend on the scale of the
    # loss, so that one learning rate serves all losses (a scale by violators, which changes from batch to batch, would
    # not cancel). ie_tower, --image_size=216,384, --precision=mixed_bfloat16:
    # recall@1 from 0.40 to 0.52 with SARE, in 4 minutes on two processor cores.
    "few_photos": {
        "train_from": "conv5_3",
        "negatives": 5,
        "mining": "full",
        "database_queries": True,
        "refresh_every": 312,
        "loss_scale": "tuple",
        "optimizer": "adam",
        "learning_rate": 3e-4,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "epochs": 6,
        "select": "last",
        # Whitening needs more images than dimensions.
        "dim": 128,
    },
    # A model for phones from few photos: few clusters, and the network's last stage is trained with them. ie_tower,
    # --image_size=216,384: recall@1 from 0.40 to 0.51, whitened 0.46, in 15 minutes on two busy processor cores.
    "phone": {
        "model": "efficientnet_lite0_netvlad",
        "clusters": 32,
        "train_from": "block5a_expand_conv",
        "negatives": 5,
        "mining": "full",
        "database_queries": True,
        "refresh_every": 312,
        "loss_scale": "tuple",
        "optimizer": "adam",
        "learning_rate": 3e-4,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "epochs": 3,
        "select": "last",
        # 0.7 million weights of whitening beside 0.7 million of the network.
        "dim": 192,
    },
}
"""Of `trainers.pitts`: the values of the flags that the command line leaves open; others keep their defaults."""

RETRIEVAL_RECIPES: dict[str, dict[str, Any]] = {
    # CNN Image Retrieval Learns from BoW, as published: the flags' own defaults, and that a trained epoch is kept.
    "retrieval_sfm": {
        "keep_untrained": False,
    },
    # A hundred photos: fewer layers to train, more steps from the same tuples, and few other buildings to be negatives.
    "few_photos": {
        "train_from": "conv5_1",
        "negatives_from": "N1",
        "tuples_per_step": 2,
        "mine_times": 1,
        "loss_scale": "tuple",
        "optimizer": "adam",
        "learning_rate": 1e-5,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "epochs": 10,
        "select": "last",
    },
}
"""Of `trainers.retrieval_sfm`."""
