"""What is wrong with a data set, all of it at once, before hours are spent on it."""
