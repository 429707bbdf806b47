"""How a place index lies in its folder: a Lance dataset, what is written to it, its indexes and its old versions."""
