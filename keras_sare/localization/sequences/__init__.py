"""Several photos of one walk or drive: the way through their candidates that fits together."""
