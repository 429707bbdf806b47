"""ImageNet weights: where they come from, their digests, and their files."""
