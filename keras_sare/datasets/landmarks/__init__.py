"""Landmarks: the test sets of image retrieval."""
