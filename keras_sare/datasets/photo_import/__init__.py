"""Photos of one's own made into a list of places: where they are, what is wrong with that, splits and roles."""
