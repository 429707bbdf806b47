"""Smaller weights: half precision, int8 and int4, and what they are calibrated with."""
