"""Re-ranking by localisation: R-MAC boxes of the query's object in the first images of a ranking."""
